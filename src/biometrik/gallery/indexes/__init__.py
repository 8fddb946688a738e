"""Indexes, one a module; see :class:`biometrik.gallery.index.Index`."""
