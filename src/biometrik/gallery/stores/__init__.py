"""Stores, one a module; see :class:`biometrik.gallery.store.Store`."""
