"""Fingerprint scanners: the base class and its drivers, one a file."""
