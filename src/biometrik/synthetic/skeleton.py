"""The minutiae of a clean ridge pattern: ridges -> skeleton -> crossing numbers -> minutiae without artefacts."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingers import MinutiaKind

#: (dy, dx) of the eight neighbours, once around the pixel, starting north.
_RING: Final = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
#: How far ridges are followed from a minutia, pixels; what stops sooner is no minutia but a spur, an island, a bridge.
_REACH_PX: Final = 9
#: Two endings so near that point away from each other are one ridge with a gap, pixels.
_GAP_PX: Final = 10.0
#: Two minutiae nearer than this are none, pixels: half a ridge period, nobody could tell what the ridges do there.
_CROWDED_PX: Final = 4.5
#: Of the three ridges at a bifurcation two run alike: the cosine of their angle is at least this.
_LEAST_ALIKE: Final = 0.2
#: Where the ridge leaves a minutia further from the orientation than this, the ridge is believed, radians.
_TRUSTED_RAD: Final = math.radians(35.0)


@dataclass(frozen=True, slots=True, eq=False)
class RidgeMinutiae:
    """Minutiae of a ridge pattern, as arrays of one length.

    Parameters
    ----------
    x, y : (N,) float64
        Pixels of the pattern.
    direction : (N,) float64
        Radians in [0, 2π), as :class:`biometrik.fingers.Minutiae` has them.
    kind : (N,) uint8
        Values of :class:`biometrik.fingers.MinutiaKind`.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    direction: NDArray[np.float64]
    kind: NDArray[np.uint8]


def thin(ridges: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the skeleton of a binary ridge pattern.

    Parameters
    ----------
    ridges : (H, W) bool
        True on ridges.

    Returns
    -------
    (H, W) uint8
        1 on lines one pixel wide, 0 elsewhere; nothing on the outermost frame.

    Raises
    ------
    InvalidInputError
        Not 2-D bool.

    References
    ----------
    Z. Guo, R. Hall, "Parallel thinning with two-subiteration algorithms", Comm. ACM 32(3), 1989, algorithm A1.

    Examples
    --------
    >>> bar = np.zeros((7, 12), dtype=bool)
    >>> bar[2:5, 2:10] = True
    >>> thin(bar)[3]
    array([0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0], dtype=uint8)
    """
    if ridges.ndim != 2 or ridges.dtype != np.bool_:
        raise InvalidInputError(f"ridges: expected (H, W) bool, got {ridges.shape} {ridges.dtype}")
    skeleton = np.zeros(ridges.shape, dtype=np.uint8)
    skeleton[1:-1, 1:-1] = ridges[1:-1, 1:-1]
    _thin(skeleton, np.empty((skeleton.size, 2), dtype=np.int32))
    return skeleton


#: Orientation of the ridges, radians in [0, π), at points x, y of the pattern.
OrientationAt = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def ridge_minutiae(
    ridges: NDArray[np.bool_], orientation_at: OrientationAt, inside: NDArray[np.bool_]
) -> RidgeMinutiae:
    """Return the minutiae of a clean binary ridge pattern.

    Parameters
    ----------
    ridges : (H, W) bool
        True on ridges.
    orientation_at : callable
        Orientation of the ridges, radians in [0, π), at points x, y, pixels of the pattern: which way a minutia points
        is seen on its ridges, how exactly on this.
    inside : (H, W) bool
        Where minutiae count: an edge of the pattern cuts ridges, which do not end there.

    Returns
    -------
    RidgeMinutiae

    Raises
    ------
    InvalidInputError
        Arrays of other shapes or dtypes.

    References
    ----------
    D. Rutovitz, "Pattern recognition", J. Royal Statistical Society A 129(4), 1966 (crossing number).
    D. Maltoni et al., "Handbook of fingerprint recognition", 2nd ed., 3.7.3 (artefacts of skeletons).
    """
    if ridges.shape != inside.shape or inside.dtype != np.bool_:
        raise InvalidInputError(f"inside: expected {ridges.shape} bool, got {inside.shape} {inside.dtype}")
    rows = _follow(thin(ridges), _REACH_PX)
    y, x = rows[:, 0], rows[:, 1]
    kept = (rows[:, 4] >= _REACH_PX) & inside[y.astype(np.intp), x.astype(np.intp)]
    y, x, direction, kind = y[kept], x[kept], rows[kept, 2], rows[kept, 3].astype(np.uint8)
    along = orientation_at(x, y)
    along = np.where(np.cos(direction - along) < 0, along + math.pi, along)
    direction = np.where(np.cos(direction - along) < math.cos(_TRUSTED_RAD), direction, along)
    kept = ~_artefacts(x, y, direction, kind)
    return RidgeMinutiae(x[kept], y[kept], np.mod(direction[kept], 2 * math.pi), kind[kept])


def _artefacts(
    x: NDArray[np.float64], y: NDArray[np.float64], direction: NDArray[np.float64], kind: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    # Each that has another on top of it, and each ending whose ridge goes on behind another that points away from it.
    dx, dy = x[None, :] - x[:, None], y[None, :] - y[:, None]
    distance = np.hypot(dx, dy)
    on_top = (distance < _CROWDED_PX) & ~np.eye(len(x), dtype=np.bool_)
    behind = dx * np.cos(direction)[:, None] + dy * np.sin(direction)[:, None] < -0.7 * distance
    opposed = np.cos(direction[:, None] - direction[None, :]) < -0.7
    endings = kind == MinutiaKind.ENDING
    gap = (distance <= _GAP_PX) & behind & opposed & endings[:, None] & endings[None, :]
    found: NDArray[np.bool_] = (on_top | gap).any(axis=1)
    return found


@njit(cache=True, nogil=True)
def _thin(skeleton: NDArray[np.uint8], doomed: NDArray[np.int32]) -> None:
    # In place. Pixels are judged all at once and taken away afterwards, half an iteration at a time.
    height, width = skeleton.shape
    changed = True
    while changed:
        changed = False
        for half in range(2):
            count = 0
            for y in range(1, height - 1):
                for x in range(1, width - 1):
                    if skeleton[y, x] == 0:
                        continue
                    p2, p3, p4 = skeleton[y - 1, x], skeleton[y - 1, x + 1], skeleton[y, x + 1]
                    p5, p6, p7 = skeleton[y + 1, x + 1], skeleton[y + 1, x], skeleton[y + 1, x - 1]
                    p8, p9 = skeleton[y, x - 1], skeleton[y - 1, x - 1]
                    lines = (
                        ((p2 ^ 1) & (p3 | p4))
                        + ((p4 ^ 1) & (p5 | p6))
                        + ((p6 ^ 1) & (p7 | p8))
                        + ((p8 ^ 1) & (p9 | p2))
                    )
                    if lines != 1:
                        continue
                    neighbours = min(
                        (p9 | p2) + (p3 | p4) + (p5 | p6) + (p7 | p8), (p2 | p3) + (p4 | p5) + (p6 | p7) + (p8 | p9)
                    )
                    if neighbours < 2 or neighbours > 3:
                        continue
                    edge = (p2 | p3 | (p5 ^ 1)) & p4 if half == 0 else (p6 | p7 | (p9 ^ 1)) & p8
                    if edge == 0:
                        doomed[count, 0], doomed[count, 1] = y, x
                        count += 1
            for i in range(count):
                skeleton[doomed[i, 0], doomed[i, 1]] = 0
            changed = changed or count > 0


@njit(cache=True, nogil=True)
def _follow(skeleton: NDArray[np.uint8], reach: int) -> NDArray[np.float64]:
    # Rows y, x, direction, kind, length of the shortest ridge that leaves it (at most `reach`).
    height, width = skeleton.shape
    rows = np.empty((4096, 5))
    count = 0
    ends = np.empty((4, 2))
    for y in range(2, height - 2):
        for x in range(2, width - 2):
            if skeleton[y, x] == 0:
                continue
            branches = 0
            shortest = reach
            for k in range(8):
                # A branch leaves where the ring turns from ground to ridge; of two neighbours the straight one.
                if not skeleton[y + _RING[k][0], x + _RING[k][1]] or skeleton[y + _RING[k - 1][0], x + _RING[k - 1][1]]:
                    continue
                first = k
                following = (k + 1) % 8
                if k % 2 == 1 and skeleton[y + _RING[following][0], x + _RING[following][1]]:
                    first = following
                branches += 1
                if branches > 3:
                    break
                ends[branches - 1, 0], ends[branches - 1, 1], length = _walk(skeleton, y, x, first, reach)
                shortest = min(shortest, length)
            if (branches != 1 and branches != 3) or count == len(rows):
                continue
            if branches == 1:
                direction = math.atan2(ends[0, 0] - y, ends[0, 1] - x)
            else:
                # The valley lies between the two ridges that run alike; it extends away from the third.
                best, third = -2.0, 0
                for k in range(3):
                    ay, ax = ends[(k + 1) % 3, 0] - y, ends[(k + 1) % 3, 1] - x
                    by, bx = ends[(k + 2) % 3, 0] - y, ends[(k + 2) % 3, 1] - x
                    norm = math.hypot(ay, ax) * math.hypot(by, bx)
                    alike = (ay * by + ax * bx) / norm if norm > 0 else -2.0
                    if alike > best:
                        best, third = alike, k
                direction = math.atan2(y - ends[third, 0], x - ends[third, 1])
                if best < _LEAST_ALIKE:
                    shortest = 0  # three ways that all part: a delta
            rows[count, 0], rows[count, 1], rows[count, 2] = y, x, direction
            rows[count, 3], rows[count, 4] = 1.0 if branches == 1 else 2.0, shortest
            count += 1
    return rows[:count].copy()


@njit(cache=True, nogil=True)
def _walk(skeleton: NDArray[np.uint8], y: int, x: int, first: int, reach: int) -> tuple[int, int, int]:
    # Follow one ridge until it ends, forks, or has been followed far enough: where that is, and how many steps.
    height, width = skeleton.shape
    before_y, before_x = y, x
    here_y, here_x = y + _RING[first][0], x + _RING[first][1]
    for length in range(1, reach):
        if here_y < 1 or here_x < 1 or here_y >= height - 1 or here_x >= width - 1:
            return here_y, here_x, reach
        chosen, runs, previous = -1, 0, False
        for k in range(9):
            next_y, next_x = here_y + _RING[k % 8][0], here_x + _RING[k % 8][1]
            new = skeleton[next_y, next_x] == 1 and (abs(next_y - before_y) > 1 or abs(next_x - before_x) > 1)
            if k < 8 and new and (chosen < 0 or k % 2 == 0):
                chosen = k
            if k > 0 and new != previous and new:
                runs += 1
            previous = new
        if chosen < 0 or runs > 1:
            return here_y, here_x, length
        before_y, before_x = here_y, here_x
        here_y, here_x = here_y + _RING[chosen][0], here_x + _RING[chosen][1]
    return here_y, here_x, reach
