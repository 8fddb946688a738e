"""SYNTHETIC biometric data: nobody's fingerprints, minutiae and face embeddings, with the truth known.

For tests, load tests, demonstrations and virtual devices. Nothing here comes from a person, and nothing of the library
but its command, its demo, tests and benchmarks uses it.
"""
