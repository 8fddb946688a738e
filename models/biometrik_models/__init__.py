"""Data, no code: the manifest of face weights, a card for each, and calibration tables."""
