"""Minutiae matchers, one a file; see :mod:`biometrik.fingerprint.matching`."""
