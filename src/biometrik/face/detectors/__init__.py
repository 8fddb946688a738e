"""Face detectors, one a file; see :mod:`biometrik.face.detection`."""
