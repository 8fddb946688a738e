"""Fingerprints: images to minutiae, templates and comparisons."""
