"""Drivers of fingerprint scanners; each module defines ``DRIVER``."""
