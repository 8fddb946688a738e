"""Vectors in 8-bit codes, as the scan takes them; :mod:`biometrik.gallery.int8_scan` explains what they are."""

import math
import mmap
from contextlib import suppress
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from biometrik.gallery.compiling import kernel

#: Rows of a group, two vector registers of 16 sums.
GROUP: Final = 32
#: Queries multiplied at a time, as many as have their sums in registers beside a group's codes: 16 of 32.
QUERIES: Final = 8
#: Groups that one batch passes over before the next: 2,048 rows of 128 dimensions are 256 KiB, a part of a core's L2.
CHUNK: Final = 64
#: Longest row: sums of products of 127 and 255 stay within int32.
MAX_DIMENSION: Final = 65_536

#: Sums of float32 products err by less than this share of what they could be at most: 16 roundings of 2⁻²⁴.
ROUNDING: Final = 2.0**-20
#: Smallest scale of codes, so that no product below becomes subnormal: values under 2⁻⁶⁰ get fewer codes.
LEAST_SCALE: Final = 2.0**-67


class Segment(NamedTuple):
    """Room for rows in codes, R of them in R / 32 groups.

    Parameters
    ----------
    codes : (R · L,) uint8
        L is the dimension, up to a multiple of 4.
    scales, norms, errors : (R,) float32
        s; ‖c‖ and ‖x − s·c‖ / s, both rounded up.
    bounds : (R / 32, 2) float32
        Largest norm and error of each group.
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float32]
    norms: NDArray[np.float32]
    errors: NDArray[np.float32]
    bounds: NDArray[np.float32]


class Batch(NamedTuple):
    """Q queries in codes, each scaled by a power of two, at most 2³², so that its largest value is 0.5..1 or below.

    Parameters
    ----------
    codes : (P · L,) int8
        P is Q up to a multiple of 8, or 1.
    offsets : (Q,) int32
        What takes the 128 of the rows' codes back out of a sum of products.
    scales, norms, errors : (Q,) float32
        qₛ; ‖q‖ and ‖q − qₛ·q_c‖, rounded up with room for the roundings of a scan.
    """

    codes: NDArray[np.int8]
    offsets: NDArray[np.int32]
    scales: NDArray[np.float32]
    norms: NDArray[np.float32]
    errors: NDArray[np.float32]


class Found(NamedTuple):
    """What a scan knows of each of Q queries so far.

    Parameters
    ----------
    lower : (Q, W) float32
        The largest lower bounds, as many as a query wants, as a heap, the least first: -inf at first. Behind them inf.
    floor : (Q,) float32
        A row whose upper bound is below is not among the best.
    rows : (Q, C) int32
        Candidates: numbers of rows.
    upper : (Q, C) float32
        Their upper bounds.
    counts : (Q,) int64
        How many candidates there are.
    rests : (Q,) float32
    sums : (8 · 32,) int32
        Scratch.
    """

    lower: NDArray[np.float32]
    floor: NDArray[np.float32]
    rows: NDArray[np.int32]
    upper: NDArray[np.float32]
    counts: NDArray[np.int64]
    rests: NDArray[np.float32]
    sums: NDArray[np.int32]


class Best(NamedTuple):
    """The best of each of Q queries among the rows compared so far, of equals those with the lower ids.

    Parameters
    ----------
    wanted, counts : (Q,) int64
        How many a query wants, 1 or more, and how many it has.
    ids : (Q, W) int64
    similarities : (Q, W) float32
        A heap each, the worst first; -1 and -inf behind it.
    """

    wanted: NDArray[np.int64]
    counts: NDArray[np.int64]
    ids: NDArray[np.int64]
    similarities: NDArray[np.float32]


def segment(rows: int, dimension: int) -> Segment:
    """Return room for rows, a multiple of 32; it takes memory as it is written to."""
    width = padded(dimension)
    return Segment(
        codes=_untouched(rows * width),
        scales=np.zeros(rows, dtype=np.float32),
        norms=np.zeros(rows, dtype=np.float32),
        errors=np.zeros(rows, dtype=np.float32),
        bounds=np.zeros((rows // GROUP, 2), dtype=np.float32),
    )


def bits(rows: int) -> NDArray[np.uint32]:
    """Return (R / 32,) bits by row, all 0: bit r of a group is its row r."""
    return np.zeros(rows // GROUP, dtype=np.uint32)


def padded(dimension: int) -> int:
    """Return how many codes a row of this dimension takes."""
    return -(-dimension // 4) * 4


def scaled(queries: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.float64]]:
    """Return (Q, D) queries as float64, and the (Q,) powers of two by which they are divided for a batch.

    Scaled so, which changes no order, bounds can neither overflow nor vanish.
    """
    exact = queries.astype(np.float64)
    exponents, divided = np.empty(len(queries), dtype=np.int32), np.empty_like(exact)
    _scale(exact, exponents, divided)
    return exact, exponents, divided


def batch(queries: NDArray[np.float64]) -> Batch:
    """Return (Q, D) queries, scaled, in codes."""
    count, dimension = queries.shape
    room = 1 if count == 1 else -(-count // QUERIES) * QUERIES
    made = Batch(
        codes=np.zeros(room * padded(dimension), dtype=np.int8),
        offsets=np.empty(count, dtype=np.int32),
        scales=_in_eights(0.0, count, 0.0),
        norms=np.empty(count, dtype=np.float32),
        errors=np.empty(count, dtype=np.float32),
    )
    _encode(queries, made)
    return made


def found(wanted: NDArray[np.int64], room: int) -> Found:
    """Return an empty record for the best 1 or more of each query, with room for candidates, 2 · 2,048 or more."""
    queries = len(wanted)
    behind = np.arange(wanted.max()) >= wanted[:, None]
    return Found(
        lower=np.where(behind, np.inf, -np.inf).astype(np.float32),
        floor=_in_eights(-np.inf, queries, np.inf),
        rows=np.empty((queries, room), dtype=np.int32),
        upper=np.empty((queries, room), dtype=np.float32),
        counts=np.zeros(queries, dtype=np.int64),
        rests=_in_eights(0.0, queries, 0.0),
        sums=np.empty(QUERIES * GROUP, dtype=np.int32),
    )


def best(wanted: NDArray[np.int64]) -> Best:
    """Return an empty record for the best 1 or more of each query."""
    shape = len(wanted), int(wanted.max())
    return Best(
        wanted=wanted,
        counts=np.zeros(len(wanted), dtype=np.int64),
        ids=np.full(shape, -1, dtype=np.int64),
        similarities=np.full(shape, -np.inf, dtype=np.float32),
    )


def _in_eights(values: NDArray[np.float32] | float, count: int, behind: float) -> NDArray[np.float32]:
    # So many values of queries, with others behind them that are read where eight are multiplied at a time.
    room = np.full(-(-count // QUERIES) * QUERIES, behind, dtype=np.float32)
    room[:count] = values
    return room[:count]


@kernel
def _scale(queries: NDArray[np.float64], exponents: NDArray[np.int32], divided: NDArray[np.float64]) -> None:
    for q in range(len(queries)):
        largest = 0.0
        for value in queries[q]:
            largest = max(largest, abs(value))
        exponents[q] = max(math.frexp(largest)[1], -32)
        by = math.ldexp(1.0, -exponents[q])
        for d in range(queries.shape[1]):
            divided[q, d] = queries[q, d] * by


@kernel
def _encode(queries: NDArray[np.float64], to: Batch) -> None:
    count, dimension = queries.shape
    width = (dimension + 3) // 4 * 4
    for q in range(count):
        largest = 0.0
        for value in queries[q]:
            largest = max(largest, abs(value))
        scale = np.float32(max(largest / 127.0, LEAST_SCALE))
        total = norm = error = 0.0
        for d in range(dimension):
            value = queries[q, d]
            code = min(max(np.rint(value / np.float64(scale)), -127.0), 127.0)
            to.codes[q * width + d] = np.int8(code)
            total += code
            norm += value * value
            error += (value - code * np.float64(scale)) ** 2
        norm, error = math.sqrt(norm), math.sqrt(error)
        slack = ROUNDING * (norm + error)
        to.offsets[q] = np.int32(-128.0 * total)
        to.scales[q] = scale
        to.norms[q] = np.nextafter(np.float32(norm + slack), np.float32(np.inf))
        to.errors[q] = np.nextafter(np.float32(error + slack), np.float32(np.inf))


def _untouched(size: int) -> NDArray[np.uint8]:
    # Zeros that take memory as they are written to. The allocator gives room that somebody had before, and clears it by
    # writing: of a million faces' last segment, which is three quarters empty, that would be 6 bytes a face. Mapped
    # room also begins at a cache line: a register is one, and loads that straddle two take twice as long.
    try:
        room = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"codes: expected room for {size} bytes") from error
    with suppress(OSError):  # a kernel without them
        room.madvise(mmap.MADV_HUGEPAGE)  # as numpy asks for its own arrays of this size: a scan reads all of it
    return np.frombuffer(room, dtype=np.uint8)
