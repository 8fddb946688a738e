"""Faces: detect, align, measure quality, embed. The story is in :mod:`biometrik.face.pipeline`."""
