"""Minutiae extractors, one a file, each with the attribute ``EXTRACTOR``."""
