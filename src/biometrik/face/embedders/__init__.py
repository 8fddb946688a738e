"""Face embedders, one a file; see :mod:`biometrik.face.embedding`."""
