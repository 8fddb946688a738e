"""Minutiae from a clear ridge pattern: ridges → skeleton → crossing numbers → minutiae → false ones out."""

import math
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingerprint.arrays import kernel_input
from biometrik.fingerprint.orientation import PERIODS_PX
from biometrik.fingerprint.segmentation import GRID_PX

#: (dy, dx) of the eight neighbours, once around the pixel, starting east; neighbour k is bit k of a code.
_RING: Final = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
#: A ridge is followed so far to see which way it goes, pixels: one and a half periods.
_REACH_PX: Final = 14
#: A branch that ends sooner is a spur, hair on a thick ridge; pixels, less than a period.
_SPUR_PX: Final = 7
#: Ridges that a minutia has more on one side than on the other, at least; each counts by the cosine of its angle to the
#: flow. An ending and a fork have one; where a bridge stands on a ridge, none begins.
_LEAST_SENSE: Final = 0.35
#: Room for minutiae before the false ones are out; a print has about 100.
_ROOM: Final = 2048
#: Two opposed minutiae are one fault up to this distance, periods: along the ridges, where breaks lie, and across them,
#: where the next ridge is.
_FAULT: Final = (1.5, 1.0)
#: Two alike within half a ridge's width are one, seen twice where a fork's pixels cluster; pixels.
_SAME_PX: Final = 4.0
#: Cosine of the angle within which directions are alike, and beyond which of its supplement opposed: 45°.
_ALIKE: Final = math.cos(math.pi / 4)

#: One row of what :func:`ridge_minutiae` returns.
SkeletonMinutia = np.dtype([("x", np.float32), ("y", np.float32), ("direction", np.float32), ("kind", np.uint8)])


def _codes() -> NDArray[np.uint8]:
    # For each of the 256 neighbourhoods: 1 and 2, deleted in the first and second half of an iteration; 4, a corner
    # whose pixel joins nothing; and the crossing number times 8.
    table = np.zeros(256, dtype=np.uint8)
    for code in range(256):
        e, ne, n, nw, w, sw, s, se = (bool(code >> k & 1) for k in range(8))
        ring = (e, ne, n, nw, w, sw, s, se)
        crossings = sum(ring[k] != ring[k - 1] for k in range(8)) // 2
        # Guo and Hall's C(p), 8-connected lines around the pixel, and N(p).
        lines = (not n and (ne or e)) + (not e and (se or s)) + (not s and (sw or w)) + (not w and (nw or n))
        neighbours = min((nw or n) + (ne or e) + (se or s) + (sw or w), (n or ne) + (e or se) + (s or sw) + (w or nw))
        if lines == 1 and 2 <= neighbours <= 3:
            table[code] |= 0 if (n or ne or not se) and e else 1
            table[code] |= 0 if (s or sw or not nw) and w else 2
        if lines == 1 and sum(ring) >= 2:
            table[code] |= 4
        table[code] |= crossings << 3
    return table


_TABLE: Final = _codes()


def thin(ridges: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the skeleton of a binary ridge pattern.

    Parameters
    ----------
    ridges : (H, W) uint8
        1 is ridge, 0 is ground. Not modified.

    Returns
    -------
    (H, W) uint8
        1 on lines one pixel wide that are joined and end as the ridges do; nothing on the outermost frame.

    Raises
    ------
    InvalidInputError
        Not 2-D uint8 of 0 and 1.

    References
    ----------
    Z. Guo, R. Hall, "Parallel thinning with two-subiteration algorithms", Comm. ACM 32(3), 1989, algorithm A1.

    Examples
    --------
    >>> bar = np.zeros((7, 12), dtype=np.uint8)
    >>> bar[2:5, 2:10] = 1
    >>> thin(bar)[3]
    array([0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0], dtype=uint8)
    """
    ridges = _binary("ridges", ridges)
    skeleton = np.zeros(ridges.shape, dtype=np.uint8)
    skeleton[1:-1, 1:-1] = ridges[1:-1, 1:-1]
    _thin(skeleton.ravel(), ridges.shape[1], np.flatnonzero(skeleton), _TABLE)
    return skeleton


def crossing_numbers(skeleton: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Count the ridges that leave each skeleton pixel.

    Parameters
    ----------
    skeleton : (H, W) uint8
        Lines one pixel wide; 1 is ridge. Not modified.

    Returns
    -------
    (H, W) uint8
        0..4 on ridge pixels: 1 where a ridge ends, 2 within one, 3 where it forks. 0 elsewhere and on the frame.

    Raises
    ------
    InvalidInputError
        Not 2-D uint8 of 0 and 1.

    References
    ----------
    D. Rutovitz, "Pattern recognition", J. Royal Statistical Society A 129(4), 1966.

    Examples
    --------
    >>> ridge = np.zeros((3, 5), dtype=np.uint8)
    >>> ridge[1, 1:4] = 1
    >>> crossing_numbers(ridge)[1]
    array([0, 1, 2, 1, 0], dtype=uint8)
    """
    skeleton = _binary("skeleton", skeleton)
    counts = np.zeros(skeleton.shape, dtype=np.uint8)
    _crossing_numbers(skeleton, _TABLE, counts)
    return counts


def ridge_minutiae(
    skeleton: NDArray[np.uint8], angle: NDArray[np.float32], inside: NDArray[np.bool_], period: NDArray[np.float32]
) -> NDArray[Any]:
    """Return the minutiae of a skeleton, without those that its faults look like.

    Parameters
    ----------
    skeleton : (H, W) uint8
        From :func:`thin`.
    angle, period : (H / 8, W / 8) float32
        Of the ridges: radians in [0, π), pixels.
    inside : (H / 8, W / 8) bool
        Cells where minutiae count: at the edge of a print ridges are cut, and do not end.

    Returns
    -------
    (N,) of SkeletonMinutia
        Directions are radians in [0, 2π), as :class:`biometrik.fingers.Minutiae` has them.

    Raises
    ------
    InvalidInputError
        Shapes that do not fit, or other dtypes.

    Notes
    -----
    *Direction.* The orientation gives the axis, the ridges that leave the minutia the sense: to where more of them go.
    An ending's only ridge goes there, and a fork's two arms, between which its valley extends.

    *False minutiae.* A break, a bridge, a lake, a spur and an island are one thing: two minutiae close together that
    point in opposite directions. Without them there are as many ridges on either side as with them. So the closest
    such pair is taken away, then the next. Of two that point the same way neither is: both begin a ridge.

    References
    ----------
    D. Maltoni, D. Maio, A. Jain, S. Prabhakar, "Handbook of fingerprint recognition", 2nd ed., 2009, 3.7.3: false
    minutiae structures. K. Larkin, P. Fletcher, "A coherent framework for fingerprint analysis", Optics Express 15(14),
    2007: minutiae as spirals of opposite sign, which cancel in pairs.
    """
    skeleton = _binary("skeleton", skeleton)
    grid = skeleton.shape[0] // GRID_PX, skeleton.shape[1] // GRID_PX
    if not grid == angle.shape == inside.shape == period.shape:
        raise InvalidInputError(
            f"angle, inside, period: expected {grid} cells, got {angle.shape}, {inside.shape}, {period.shape}"
        )
    counts = np.zeros(skeleton.shape, dtype=np.uint8)
    _crossing_numbers(skeleton, _TABLE, counts)
    rows = np.empty((_ROOM, 5), dtype=np.float32)
    angle, inside = kernel_input("angle", angle, np.float32), kernel_input("inside", inside, np.bool_)
    rows = rows[: _leave(skeleton, counts, angle, inside, rows)]
    y, x = rows[:, 0].astype(np.intp) // GRID_PX, rows[:, 1].astype(np.intp) // GRID_PX
    kept = _unpaired(rows, period[y, x].astype(np.float32))
    result = np.empty(int(kept.sum()), dtype=SkeletonMinutia)
    result["y"], result["x"], result["direction"] = rows[kept, 0], rows[kept, 1], rows[kept, 2]
    result["kind"] = rows[kept, 3].astype(np.uint8)
    return result


def _unpaired(rows: NDArray[np.float32], period: NDArray[np.float32]) -> NDArray[np.bool_]:
    # Takes the second of two alike away, and opposed pairs, the closest first.
    kept: NDArray[np.bool_] = rows[:, 4] >= 0
    y, x, direction = rows[:, 0], rows[:, 1], rows[:, 2]
    distance = np.hypot(x[:, None] - x, y[:, None] - y)
    first, second = np.nonzero(np.triu(distance < max(_FAULT) * PERIODS_PX[1], 1))
    alignment = np.cos(direction[first] - direction[second])
    kept[second[(alignment > _ALIKE) & (distance[first, second] <= _SAME_PX)]] = False
    opposed = (alignment < -_ALIKE) & kept[first] & kept[second]
    first, second = first[opposed], second[opposed]
    dx, dy = x[second] - x[first], y[second] - y[first]
    cos, sin = np.cos(direction[first]), np.sin(direction[first])
    scale = (period[first] + period[second]) / 2
    apart = np.hypot((dx * cos + dy * sin) / (_FAULT[0] * scale), (dy * cos - dx * sin) / (_FAULT[1] * scale))
    for k in np.argsort(apart, kind="stable")[: np.count_nonzero(apart <= 1)]:
        if kept[first[k]] and kept[second[k]]:
            kept[first[k]] = kept[second[k]] = False
    return kept


def _binary(name: str, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    array = kernel_input(name, array, np.uint8)
    if array.max() > 1:
        raise InvalidInputError(f"{name}: expected only 0 and 1, got {array.max()}")
    return array


@njit(cache=True, nogil=True)
def _code(skeleton: NDArray[np.uint8], at: int, width: int) -> int:
    return int(
        skeleton[at + 1]
        | skeleton[at - width + 1] << 1
        | skeleton[at - width] << 2
        | skeleton[at - width - 1] << 3
        | skeleton[at - 1] << 4
        | skeleton[at + width - 1] << 5
        | skeleton[at + width] << 6
        | skeleton[at + width + 1] << 7
    )


@njit(cache=True, nogil=True)
def _thin(skeleton: NDArray[np.uint8], width: int, ridge: NDArray[np.int64], table: NDArray[np.uint8]) -> None:
    # In place, on the flat array. `ridge` lists what is left of the ridges; pixels are judged all at once and taken
    # away afterwards, half an iteration at a time.
    left = len(ridge)
    doomed = np.empty(left, dtype=np.int64)
    idle = 0
    half = 1
    while idle < 2:
        count, kept = 0, 0
        for i in range(left):
            at = ridge[i]
            if table[_code(skeleton, at, width)] & half:
                doomed[count] = at
                count += 1
            else:
                ridge[kept] = at
                kept += 1
        for i in range(count):
            skeleton[doomed[i]] = 0
        left = kept
        idle = 0 if count else idle + 1
        half = 3 - half
    for i in range(left):
        # What is left over at corners, one after the other.
        if table[_code(skeleton, ridge[i], width)] & 4:
            skeleton[ridge[i]] = 0


@njit(cache=True, nogil=True)
def _crossing_numbers(skeleton: NDArray[np.uint8], table: NDArray[np.uint8], counts: NDArray[np.uint8]) -> None:
    # Trusts its input; fills `counts`, which holds zeros.
    height, width = skeleton.shape
    flat = skeleton.ravel()
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            if skeleton[y, x]:
                counts[y, x] = table[_code(flat, y * width + x, width)] >> 3


@njit(cache=True, nogil=True)
def _leave(
    skeleton: NDArray[np.uint8],
    counts: NDArray[np.uint8],
    angle: NDArray[np.float32],
    inside: NDArray[np.bool_],
    rows: NDArray[np.float32],
) -> int:
    # Rows y, x, direction, kind, and -1 for what is none or nought. Returns how many.
    found = 0
    for y in range(2, skeleton.shape[0] - 2):
        for x in range(2, skeleton.shape[1] - 2):
            branches = counts[y, x]
            if (branches != 1 and branches != 3) or not inside[y // GRID_PX, x // GRID_PX] or found == len(rows):
                continue
            axis = _axis(angle, y, x)
            cos, sin = math.cos(axis), math.sin(axis)
            sense = 0.0
            spur = False
            for k in range(8):
                dy, dx = _RING[k]
                if not skeleton[y + dy, x + dx]:
                    continue
                # One branch for each run of the ring: its straight neighbour where it has one.
                before, after = _RING[(k + 7) % 8], _RING[(k + 1) % 8]
                if k % 2 == 1 and (skeleton[y + before[0], x + before[1]] or skeleton[y + after[0], x + after[1]]):
                    continue
                end_y, end_x, length, ends = _walk(skeleton, counts, y, x, y + dy, x + dx)
                norm = math.hypot(end_y - y, end_x - x)
                if norm > 0:
                    sense += ((end_x - x) * cos + (end_y - y) * sin) / norm
                spur = spur or (ends and length < _SPUR_PX)
            direction = axis if sense >= 0 else axis + math.pi
            rows[found, 0], rows[found, 1], rows[found, 2] = y, x, direction % (2 * math.pi)
            rows[found, 3] = 1.0 if branches == 1 else 2.0
            rows[found, 4] = -1.0 if spur or abs(sense) < _LEAST_SENSE else 0.0
            found += 1
    return found


@njit(cache=True, nogil=True)
def _axis(angle: NDArray[np.float32], y: int, x: int) -> float:
    # Orientation between the cells' middles: bilinear, of the doubled angle.
    row, column = (y + 0.5) / GRID_PX - 0.5, (x + 0.5) / GRID_PX - 0.5
    top, left = math.floor(row), math.floor(column)
    even, odd = 0.0, 0.0
    for i in range(2):
        for j in range(2):
            r = min(max(top + i, 0), angle.shape[0] - 1)
            c = min(max(left + j, 0), angle.shape[1] - 1)
            weight = (1.0 - abs(row - top - i)) * (1.0 - abs(column - left - j))
            even += weight * math.cos(2.0 * angle[r, c])
            odd += weight * math.sin(2.0 * angle[r, c])
    return 0.5 * math.atan2(odd, even)


@njit(cache=True, nogil=True)
def _walk(
    skeleton: NDArray[np.uint8], counts: NDArray[np.uint8], y: int, x: int, here_y: int, here_x: int
) -> tuple[int, int, int, bool]:
    # Follow a ridge until it ends or forks, or far enough: where that is, how many steps, and whether it ended.
    before_y, before_x = y, x
    for length in range(1, _REACH_PX):
        if counts[here_y, here_x] != 2:
            return here_y, here_x, length, counts[here_y, here_x] == 1
        next_y, next_x, best = -1, -1, 0
        for k in range(8):
            to_y, to_x = here_y + _RING[k][0], here_x + _RING[k][1]
            away = max(abs(to_y - before_y), abs(to_x - before_x))
            # The farther from where it came the better; of two as far, the straight neighbour.
            worth = 2 * away + (1 - k % 2)
            if skeleton[to_y, to_x] and away > 0 and worth > best:
                next_y, next_x, best = to_y, to_x, worth
        if next_y < 0:
            return here_y, here_x, length, True
        before_y, before_x, here_y, here_x = here_y, here_x, next_y, next_x
    return here_y, here_x, _REACH_PX, False
