"""One comparison, stage after stage, and many of them."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.fingerprint.kernels.compiling import entrance, kernel
from biometrik.fingerprint.kernels.evidence import evidence
from biometrik.fingerprint.kernels.fetching import fetch_after
from biometrik.fingerprint.kernels.layout import ONE, ZERO, Packed, Scratch
from biometrik.fingerprint.kernels.pairing import ANYHOW, CONCENTRATION, UPRIGHT, candidates
from biometrik.fingerprint.kernels.registration import fit, match, move
from biometrik.fingerprint.kernels.support import agree, anchors, relax

_f = np.float32
REGISTRATIONS: Final = 2
#: Less than this share of the smaller print's minutiae matched is not worth another registration.
AGAIN: Final = _f(0.3)
# Evidence.
WORTH: Final = _f(0.0082)
_SUPPORT_WEIGHT: Final = _f(4.0)
_SUPPORT_FLOOR: Final = _f(0.01)
_ORIGIN: Final = _f(20.0)
_SCALE: Final = _f(8.0)


@kernel
def compare(A: Packed, ta: int, B: Packed, tb: int, normals: NDArray[np.float32], s: Scratch) -> tuple[np.float32, int]:
    """Return the similarity 0..1 of template ta of A and tb of B, and how many pairs are left in ``s.pairs``."""
    fewer = min(A.minutiae[ta], B.minutiae[tb])
    pairs = candidates(A, ta, B, tb, s) if fewer > 1 else 0
    if pairs < 2:
        return ZERO, 0
    agree(pairs, s)
    support = relax(pairs, fewer, s)
    pairs = anchors(pairs, s) if support > WORTH else 0
    for again in range(REGISTRATIONS):
        if pairs < 2 or (again and _f(pairs) < AGAIN * _f(fewer)):
            break
        fit(pairs, s)
        move(A, ta, pairs, s)
        pairs = match(A, ta, B, tb, s)
    if pairs < 2:
        return similarity_of(support_nats(support)), 0
    nats = support_nats(support) + evidence(A, ta, B, tb, pairs, normals, s)
    return similarity_of(nats + rotation_nats(s.fit[0])), pairs


@kernel
def support_nats(support: np.float32) -> np.float32:
    """Return what the support of the best pairs is worth."""
    return _SUPPORT_WEIGHT * math.log(support + _SUPPORT_FLOOR)


@kernel
def rotation_nats(cos: np.float32) -> np.float32:
    """Return what a rotation is worth before anything is seen."""
    nats = CONCENTRATION * (cos - ONE)
    return UPRIGHT + (nats if nats > ANYHOW else ANYHOW)


@kernel
def similarity_of(nats: np.float32) -> np.float32:
    """Return what all evidence together comes to, 0..1."""
    above = nats + _ORIGIN
    return ONE - math.exp(-(above if above > ZERO else ZERO) / _SCALE)


@entrance
def takes_second_part(A: Packed, B: Packed, tb: int) -> bool:
    """Return whether the first template of A is the second of the two in a comparison with template tb of B.

    Either may be first, but it has to be the same one whoever asks: then a similarity is symmetric to the last bit.
    """
    if A.minutiae[0] != B.minutiae[tb]:
        return bool(A.minutiae[0] > B.minutiae[tb])
    return bool(A.key[0] > B.key[tb])


@entrance
def compare_many(
    probe: Packed,
    references: Packed,
    chosen: NDArray[np.int64],
    normals: NDArray[np.float32],
    s: Scratch,
    similarity: NDArray[np.float32],
) -> int:
    """Fill the similarities of the first template of a pack to chosen ones of another.

    Returns how many pairs of minutiae the last comparison left in the scratch.
    """
    pairs = 0
    for i in range(len(chosen)):
        t = chosen[i]
        fetch_after(references, chosen, i)
        if takes_second_part(probe, references, t):
            similarity[i], pairs = compare(references, t, probe, 0, normals, s)
        else:
            similarity[i], pairs = compare(probe, 0, references, t, normals, s)
    return pairs
