"""Enrolled people: what is stored of them, and the search among them.

:mod:`~biometrik.gallery.gallery` keeps a store (the truth, on disk) and an index (for 1:N search, in memory) in step.
"""
