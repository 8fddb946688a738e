"""Names that are made of what they name."""

import hashlib


def sha256_hex(*parts: bytes) -> str:
    """SHA-256 over length-prefixed parts, hexadecimal: no two lists of parts share a digest by concatenation."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()
