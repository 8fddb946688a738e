"""Drivers of cameras; each module defines ``DRIVER``."""
