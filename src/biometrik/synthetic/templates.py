"""SYNTHETIC minutiae without images: identities and their templates, thousands a second.

A finger is an orientation model (:mod:`biometrik.synthetic.orientation`) and points on it that keep their distance; its
templates are placements of it (:mod:`biometrik.synthetic.placement`) with minutiae missed, made up and displaced.

What was measured on real prints, as LEADER sees them at a quality of 30 and more, and what is drawn here by default
(median, or 5th – 95th percentile where two figures stand; density and the rest within the minutiae's convex hull):

=========================================  ==============  ==========  ==========  ==========  =========  ==========
what                                       crossmatch-dev  2002 DB1    2002 DB3    2004 DB1    2004 DB2   here
=========================================  ==============  ==========  ==========  ==========  =========  ==========
minutiae                                   40 – 92         22 – 72     15 – 39     22 – 56     23 – 53    26 – 62
minutiae in 10,000 px²                     7.7             8.0         9.3         8.1         7.0        8.2
the same, 5th – 95th percentile            5.5 – 9.8       6.5 – 11.5  5.9 – 15.2  5.7 – 11.5  4.9 – 9.1  6.1 – 11.0
nearest neighbour, px                      21              21          22          22          24         21
the same, 5th – 95th percentile            11 – 45         10 – 45     11 – 46     12 – 46     11 – 50    10 – 44
neighbour points the same way, within 30°  48 %            48 %        42 %        53 %        55 %       54 %
neighbour points the other way             45 %            43 %        46 %        37 %        34 %       38 %
pairs at 4 – 8 px, to a uniform scatter    0.05            0.05        0.04        0.02        0.03       0.08
pairs at 8 – 12 px                         0.37            0.36        0.22        0.21        0.33       0.45
pairs at 12 – 16 px                        0.79            0.62        0.59        0.68        0.52       0.68
pairs at 20 – 30 px                        0.81            0.72        0.55        0.74        0.75       0.71
=========================================  ==============  ==========  ==========  ==========  =========  ==========

(The last rows are counts of pairs over those that as many points scattered in the hull would have; its edge is not
corrected for, so that far pairs have less than 1.)
"""

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingers import MAX_MINUTIAE, Minutiae
from biometrik.synthetic.drawing import generator, minutiae_of
from biometrik.synthetic.fingerprints import OUTLINE_PX
from biometrik.synthetic.orientation import FingerClass, OrientationModel, draw_orientation
from biometrik.synthetic.placement import Placement, PlacementParameters, draw_placement

_FINGER_STREAM: Final = 0x4D494E46
_TEMPLATE_STREAM: Final = 0x54454D50
#: Of the whole finger; a placement shows a part of it.
_AREA_PX2: Final = math.pi * OUTLINE_PX[0] * (OUTLINE_PX[1] + OUTLINE_PX[2]) / 2
#: Places that are tried for each minutia that is wanted.
_TRIES: Final = 9
#: How many more minutiae there are at a core and at a delta than elsewhere, as a share, and how far that reaches,
#: pixels (standard deviation). Grown fingers have 1.6 and 2.5 times as many within 40 pixels.
_CROWDED: Final = (0.9, 2.6)
_CROWDED_PX: Final = 28.0
#: Two minutiae are never nearer than the first, and from the second on do not mind each other, pixels.
_APART_PX: Final = (7.0, 16.0)
#: Where ridges spread, new ones begin: more minutiae point the way they spread, by as many as keep the period, at most
#: this share of all. Mean period, pixels; how far a minutia leaves the orientation, radians.
_MOST: Final = 0.95
_PERIOD_PX: Final = 9.0
_ASKEW_RAD: Final = 0.09
#: How far beside a true minutia a false one stands, pixels; how often a minutia's kind is mistaken; how far from it
#: points lie by which directions are carried and compared, pixels.
_BESIDE_PX: Final = (10.0, 40.0)
_MISTAKEN: Final = 0.12
_ARM_PX: Final = 4.0


@dataclass(frozen=True, slots=True)
class TemplateParameters:
    """How SYNTHETIC templates of one finger differ.

    Parameters
    ----------
    placement : PlacementParameters
        How the finger is put on the scanner.
    density : float
        Mean number of minutiae in 10,000 square pixels at 500 ppi, 2..15.
    jitter_px, jitter_deg : float
        Standard deviations of each minutia's place, along each axis, and direction: 0..10 pixels, 0..45 degrees.
    missed, spurious : float
        Mean share of the minutiae in sight that a template misses, and number of false ones as a share of them,
        0..0.9. Both vary from template to template: some prints are worse than others.
    """

    placement: PlacementParameters = field(default_factory=PlacementParameters)
    density: float = 6.4
    jitter_px: float = 1.6
    jitter_deg: float = 6.0
    missed: float = 0.15
    spurious: float = 0.13

    def __post_init__(self) -> None:
        for name, least, most in (
            ("density", 2.0, 15.0),
            ("jitter_px", 0.0, 10.0),
            ("jitter_deg", 0.0, 45.0),
            ("missed", 0.0, 0.9),
            ("spurious", 0.0, 0.9),
        ):
            if not least <= getattr(self, name) <= most:
                raise InvalidInputError(f"{name}: expected {least:g}..{most:g}, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, eq=False)
class MinutiaeIdentity:
    """The minutiae of a whole SYNTHETIC finger: nobody's.

    Parameters
    ----------
    seed, index : int
        Its population, and its place in it.
    pattern : FingerClass
        Its class.
    x, y : (N,) float64
        Pixels at 500 ppi from the pattern's centre, y down.
    direction : (N,) float64
        Radians, of any turn.
    kind : (N,) uint8
        Values of :class:`biometrik.fingers.MinutiaKind`.
    """

    seed: int
    index: int
    pattern: FingerClass
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    direction: NDArray[np.float64]
    kind: NDArray[np.uint8]


def draw_identity(
    seed: int, index: int, *, pattern: FingerClass | None = None, parameters: TemplateParameters | None = None
) -> MinutiaeIdentity:
    """Return SYNTHETIC identity ``index`` of a population: the same for the same arguments, on every run.

    Parameters
    ----------
    seed, index : int
        Names the population, and the identity in it; not negative.
    pattern : FingerClass, optional
        Its class; drawn at natural frequencies where None.
    parameters : TemplateParameters, optional
        Only ``density`` is used.

    Raises
    ------
    InvalidInputError
        A negative seed or index.

    Examples
    --------
    >>> 60 < len(draw_identity(7, 0).x) < 200
    True
    """
    parameters = parameters or TemplateParameters()
    rng = generator(seed, _FINGER_STREAM, index)
    model = draw_orientation(rng, pattern)
    # People differ: a standard deviation of 15 % beside the scatter.
    wanted = parameters.density * math.exp(0.15 * rng.standard_normal() - 0.011) * _AREA_PX2 / 1e4
    tried = rng.random((4, int(_TRIES * wanted)))
    radius, turn = np.sqrt(tried[0]), 2 * math.pi * tried[1]
    across, above, below = OUTLINE_PX
    x, y = across * radius * np.cos(turn), radius * np.sin(turn)
    y *= np.where(y < 0, above, below)
    likely = np.flatnonzero(tried[3] * (1.0 + max(_CROWDED)) < _crowding(model, x, y))
    x, y = x[likely], y[likely]
    kept = np.empty(len(x), dtype=np.intp)
    count = _settle(x, y, tried[2, likely], round(wanted), *_APART_PX, kept)
    x, y = x[kept[:count]], y[kept[:count]]
    along, spread = _spread(model, x, y)
    forward = rng.random(count) < 0.5 + 0.5 * np.clip(spread / (_PERIOD_PX * wanted / _AREA_PX2), -_MOST, _MOST)
    direction = np.where(forward, along, along + math.pi) + rng.normal(0.0, _ASKEW_RAD, count)
    kind = np.where(rng.random(count) < 0.6, 1, 2).astype(np.uint8)
    return MinutiaeIdentity(seed, index, model.pattern, x, y, direction, kind)


def draw_template(
    identity: MinutiaeIdentity, impression: int, parameters: TemplateParameters | None = None
) -> Minutiae:
    """Return the minutiae of SYNTHETIC impression number ``impression``: the same for the same arguments, on every run.

    Parameters
    ----------
    identity : MinutiaeIdentity
        The finger.
    impression : int
        Which of its impressions; not negative.
    parameters : TemplateParameters, optional
        How they differ; ``density`` is the identity's.

    Returns
    -------
    Minutiae
        Best first, at most 255.

    Raises
    ------
    InvalidInputError
        A negative number.

    Examples
    --------
    >>> template = draw_template(draw_identity(7, 0), 0)
    >>> template.width_px, 10 < len(template) < 120
    (388, True)
    """
    parameters = parameters or TemplateParameters()
    rng = generator(identity.seed, _TEMPLATE_STREAM, identity.index, impression)
    placement = draw_placement(rng, parameters.placement)
    # How bad the print is, 0..2 with mean 1.
    badness = 2.0 * float(rng.beta(2.0, 2.0))
    seen = np.flatnonzero(
        (placement.depth(identity.x, identity.y) > 0) & (rng.random(len(identity.x)) >= parameters.missed * badness)
    )
    false = min(int(rng.poisson(parameters.spurious * badness * len(seen))), MAX_MINUTIAE)
    # A false one stands beside a true one, along the ridges there.
    beside = seen[rng.integers(0, len(seen), false)] if false else seen[:0]
    near = np.concatenate([seen, beside])
    x, y, direction, kind = (values[near] for values in (identity.x, identity.y, identity.direction, identity.kind))
    turn, far = rng.uniform(0.0, 2 * math.pi, false), rng.uniform(*_BESIDE_PX, false)
    x[len(seen) :] += far * np.cos(turn)
    y[len(seen) :] += far * np.sin(turn)
    direction[len(seen) :] += math.pi * rng.integers(0, 2, false)
    kind = np.where(rng.random(len(near)) < _MISTAKEN, 3 - kind, kind).astype(np.uint8)
    quality = rng.random(len(near))
    quality[: len(seen)] = np.rint(100.0 * quality[: len(seen)] ** (1 / 9))
    quality[len(seen) :] = np.rint(30.0 + 60.0 * quality[len(seen) :])

    x, y, direction = _placed(placement, x, y, direction)
    jitter = rng.standard_normal((3, len(near)))
    x, y = x + parameters.jitter_px * jitter[0], y + parameters.jitter_px * jitter[1]
    direction = np.mod(direction + math.radians(parameters.jitter_deg) * jitter[2], 2 * math.pi)
    width, height = parameters.placement.width_px, parameters.placement.height_px
    framed = np.flatnonzero((x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1))
    order = framed[np.argsort(-quality[framed], kind="stable")]
    order = order[: _keep_apart(x, y, order)][:MAX_MINUTIAE]
    return minutiae_of(
        x[order], y[order], direction[order], kind[order], quality[order].astype(np.uint8), width, height
    )


def _crowding(model: OrientationModel, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    # How many times as many minutiae there are at each place: 1 far from singular points.
    times = np.ones(len(x))
    for points, more in zip((model.cores, model.deltas), _CROWDED, strict=True):
        for px, py in points:
            times += more * np.exp(((x - px) ** 2 + (y - py) ** 2) * (-0.5 / _CROWDED_PX**2))
    return times


def _spread(
    model: OrientationModel, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # The ridges' orientation, and how much they spread along it: its change across them, radians a pixel.
    along = model.at(x, y)
    across_x, across_y = -_ARM_PX * np.sin(along), _ARM_PX * np.cos(along)
    sides = model.at(np.array([x - across_x, x + across_x]), np.array([y - across_y, y + across_y]))
    change = np.mod(sides[1] - sides[0] + 0.5 * math.pi, math.pi) - 0.5 * math.pi
    return along, change / (2.0 * _ARM_PX)


def _placed(
    placement: Placement, x: NDArray[np.float64], y: NDArray[np.float64], direction: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    # The skin's map from glass to finger serves here the other way round, which is as likely and needs no iteration.
    count = len(x)
    ahead_x = np.concatenate([x, x + _ARM_PX * np.cos(direction)])
    ahead_y = np.concatenate([y, y + _ARM_PX * np.sin(direction)])
    image_x, image_y = placement.to_image(*placement.skin.to_finger(ahead_x, ahead_y))
    turned = np.arctan2(image_y[count:] - image_y[:count], image_x[count:] - image_x[:count])
    return image_x[:count], image_y[:count], turned


@njit(cache=True, nogil=True)
def _settle(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    chance: NDArray[np.float64],
    wanted: int,
    least: float,
    full: float,
    kept: NDArray[np.intp],
) -> int:
    # Places are taken one after the other, unless one is taken already too near.
    count = 0
    for i in range(len(x)):
        if count == wanted:
            break
        nearest = np.inf
        for j in range(count):
            nearest = min(nearest, (x[i] - x[kept[j]]) ** 2 + (y[i] - y[kept[j]]) ** 2)
        if math.sqrt(nearest) - least >= chance[i] * (full - least):
            kept[count] = i
            count += 1
    return count


@njit(cache=True, nogil=True)
def _keep_apart(x: NDArray[np.float64], y: NDArray[np.float64], order: NDArray[np.intp]) -> int:
    # In place: the minutiae that have no better one on top of them move to the front of `order`; how many they are.
    count = 0
    for i in order:
        free = True
        for j in order[:count]:
            if (x[i] - x[j]) ** 2 + (y[i] - y[j]) ** 2 < _APART_PX[0] ** 2:
                free = False
                break
        if free:
            order[count] = i
            count += 1
    return count
