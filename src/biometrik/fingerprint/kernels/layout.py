"""What a comparison reads and where it works: templates packed for the kernels, and room for what is between."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from biometrik.fingerprint.kernels.compiling import kernel

_f, _i = np.float32, np.int32
ZERO: Final = _f(0.0)
HALF: Final = _f(0.5)
ONE: Final = _f(1.0)
TWO: Final = _f(2.0)

#: Most pairs of minutiae that take part in the relaxation.
MAX_PAIRS: Final = 16
#: Where the padding lies, pixels.
NOWHERE_PX: Final = -10_000.0
#: Length of rows: MAX_MINUTIAE and a step more. 17 cache lines, so that rows begin at one and do not alias in the lower
#: 12 bits of addresses.
_ROOM: Final = 272


class Packed(NamedTuple):
    """Templates' derived data, contiguous; template t has places ``offsets[t]`` to ``offsets[t + 1]`` for minutiae.

    Parameters
    ----------
    offsets : (T + 1,) int64
        Rising by multiples of :data:`.lanes.LANES`.
    minutiae : (T,) int32
        How many there are; the places after them are padding: codes without bits, far away.
    words : (DIRECTIONS · N,) uint64
        Cylinder codes, word by word within a template: so consecutive minutiae fill a vector register.
    sketch : (SKETCH_WORDS · SKETCHED · T,) uint64
        Of the best minutiae; see :func:`biometrik.fingerprint.descriptors.sketches`. Word by word within a template; 0
        where it has fewer.
    x, y, cos, sin : (N,) float32
        Place in pixels; direction as a unit vector.
    weight : (N,) float32
        How surely the minutia is one, 0..1.
    norm : (N,) float32
        What a code's count of common bits is multiplied with.
    reach : (SIDES · T,) float32
        See :class:`biometrik.fingerprint.descriptors.Descriptors`.
    key : (T,) uint64
        Digest of a template: decides which of two takes which part, so that the order of arguments does not matter.
    """

    offsets: NDArray[np.int64]
    minutiae: NDArray[np.int32]
    words: NDArray[np.uint64]
    sketch: NDArray[np.uint64]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    cos: NDArray[np.float32]
    sin: NDArray[np.float32]
    weight: NDArray[np.float32]
    norm: NDArray[np.float32]
    reach: NDArray[np.float32]
    key: NDArray[np.uint64]


class Scratch(NamedTuple):
    """Room for one comparison at a time; one a thread.

    Parameters
    ----------
    code, place, order : (ROOM,) int32
        Candidates: level, 255 − the first print's minutia, the second's, 8 bits each; their places in order; in order.
    pairs : (2, ROOM) int32
        The pairs in play, rows of minutiae of the first and the second print.
    pair : (14, ROOM) float32
        What is known of each pair; its rows are the constants from ``AX`` to ``CROSS``.
    tight, loose : (MAX_PAIRS, MAX_PAIRS) float32
        Agreement of any two pairs.
    moved : (6, ROOM) float32
        Where each minutia of the first print lies in the second; its rows are the constants from ``MX`` to ``EXCESS``.
    nearest : (2, ROOM) int32
        How near the nearest minutia of the other print is, and which it is in the lower 8 bits.
    used : (2, ROOM) uint8
        Which minutiae are paired.
    fit : (8,) float32
        The rigid motion of all pairs: cosine, sine, their middle in the first print and in the second.
    """

    code: NDArray[np.int32]
    place: NDArray[np.int32]
    order: NDArray[np.int32]
    pairs: NDArray[np.int32]
    pair: NDArray[np.float32]
    tight: NDArray[np.float32]
    loose: NDArray[np.float32]
    moved: NDArray[np.float32]
    nearest: NDArray[np.int32]
    used: NDArray[np.uint8]
    fit: NDArray[np.float32]


# Rows of Scratch.pair: places and rotation; similarity, what relaxation makes of it, support; weight and certainty; the
# pair's part in the motion around it.
AX, AY, BX, BY, COS, SIN, GAMMA, LAMBDA, NEXT, SUPPORT, CERTAINTY, WEIGHT, DOT, CROSS = range(14)
# Rows of Scratch.moved: place, direction, how exact they are (1 / pixels squared), how far outside the other print.
MX, MY, MCOS, MSIN, EXACT, EXCESS = range(6)


def scratch() -> Scratch:
    """Return room for comparisons of templates of any size."""
    return Scratch(
        code=np.zeros(_ROOM, dtype=np.int32),
        place=np.zeros(_ROOM, dtype=np.int32),
        order=np.zeros(_ROOM, dtype=np.int32),
        pairs=np.zeros((2, _ROOM), dtype=np.int32),
        pair=np.zeros((14, _ROOM), dtype=np.float32),
        tight=np.zeros((MAX_PAIRS, MAX_PAIRS), dtype=np.float32),
        loose=np.zeros((MAX_PAIRS, MAX_PAIRS), dtype=np.float32),
        moved=np.zeros((6, _ROOM), dtype=np.float32),
        nearest=np.zeros((2, _ROOM), dtype=np.int32),
        used=np.zeros((2, _ROOM), dtype=np.uint8),
        fit=np.zeros(8, dtype=np.float32),
    )


@kernel
def note(A: Packed, a: int, B: Packed, b: int, pair: int, s: Scratch) -> None:
    """Write the geometry of a pair of minutiae into ``s.pair``."""
    s.pair[AX, pair], s.pair[AY, pair], s.pair[BX, pair], s.pair[BY, pair] = A.x[a], A.y[a], B.x[b], B.y[b]
    s.pair[COS, pair] = A.cos[a] * B.cos[b] + A.sin[a] * B.sin[b]
    s.pair[SIN, pair] = A.cos[a] * B.sin[b] - A.sin[a] * B.cos[b]
