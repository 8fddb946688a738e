"""SYNTHETIC fingers: what all impressions of one finger have in common, with its true minutiae.

A finger is drawn as SFinGe does: a class, the orientation of its ridges (:mod:`biometrik.synthetic.orientation`), a
map of their period, and then a ridge pattern that grows from noise (:mod:`biometrik.synthetic.growth`); minutiae
emerge where ridges that grew apart meet. They are read from the pattern's skeleton, and are therefore known exactly.
"""

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingers import MAX_MINUTIAE, Minutiae
from biometrik.synthetic.drawing import generator, minutiae_of
from biometrik.synthetic.growth import grow
from biometrik.synthetic.orientation import FingerClass, OrientationModel, draw_orientation
from biometrik.synthetic.skeleton import ridge_minutiae

#: Size of a master finger, pixels at 500 ppi, and where its pattern's centre lies: x, y.
WIDTH_PX: Final = 384
HEIGHT_PX: Final = 496
CENTRE_PX: Final = (192.0, 215.0)
#: Half-axes of the finger's outline, pixels: across, above the centre, below it.
OUTLINE_PX: Final = (184.0, 207.0, 272.0)
#: Ridges grow at half the resolution, with a quarter of the pixels and a quarter of each filter.
_SCALE: Final = 2
#: Minutiae nearer the outline are cut ridges, pixels.
_EDGE_PX: Final = 10
#: Pores: distance between places that are tried, pixels; how near to the middle of a ridge they are.
_PORES_PX: Final = 5
_PORE_RIDGE: Final = 0.6
#: Distinguishes these draws from others of the same seed.
_STREAM: Final = 0x46494E47


@dataclass(frozen=True, slots=True)
class MasterParameters:
    """How SYNTHETIC fingers are drawn.

    Parameters
    ----------
    period_px : float
        Mean distance from ridge to ridge, pixels at 500 ppi, 7.5..11. 9.0 is 0.46 mm, an adult's.
    period_spread : float
        Standard deviation of a finger's mean period, as a share, 0..0.1.
    iterations : int
        Of the growth, 5..200: more iterations leave fewer minutiae. 14 leave 7.7 in 10,000 square pixels, as many as
        real prints have (:mod:`biometrik.synthetic.templates` has the figures).
    """

    period_px: float = 9.0
    period_spread: float = 0.05
    iterations: int = 14

    def __post_init__(self) -> None:
        if not 7.5 <= self.period_px <= 11.0:
            raise InvalidInputError(f"period_px: expected 7.5..11 pixels at 500 ppi, got {self.period_px}")
        if not 0.0 <= self.period_spread <= 0.1:
            raise InvalidInputError(f"period_spread: expected 0..0.1, got {self.period_spread}")
        if not 5 <= self.iterations <= 200:
            raise InvalidInputError(f"iterations: expected 5..200, got {self.iterations}")


@dataclass(frozen=True, slots=True, eq=False)
class MasterFinger:
    """A SYNTHETIC finger: nobody's.

    Parameters
    ----------
    seed, index : int
        Its population, and its place in it.
    orientation : OrientationModel
        Class, singular points and orientation.
    ridges : (496, 384) float32
        −1 in valleys to 1 on ridges, 0 outside the finger; 500 ppi, read-only.
    inside : (496, 384) bool
        Where the finger is; read-only.
    pores : (496, 384) float32
        1 in the middle of a pore, 0 away from pores; read-only.
    minutiae : Minutiae
        The true ones, quality 100.
    """

    seed: int
    index: int
    orientation: OrientationModel
    ridges: NDArray[np.float32]
    inside: NDArray[np.bool_]
    pores: NDArray[np.float32]
    minutiae: Minutiae

    def __post_init__(self) -> None:
        for name in ("ridges", "inside", "pores"):
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)


def draw_finger(
    seed: int, index: int, *, pattern: FingerClass | None = None, parameters: MasterParameters | None = None
) -> MasterFinger:
    """Return SYNTHETIC finger ``index`` of a population: the same for the same arguments, on every run.

    Parameters
    ----------
    seed : int
        Names the population; not negative.
    index : int
        Of the finger in it; not negative.
    pattern : FingerClass, optional
        Its class; drawn at natural frequencies where None.
    parameters : MasterParameters, optional
        How fingers are drawn.

    Returns
    -------
    MasterFinger

    Raises
    ------
    InvalidInputError
        A negative seed or index.

    References
    ----------
    R. Cappelli, D. Maio, D. Maltoni, "Synthetic fingerprint-database generation", ICPR 2002.
    D. Maltoni et al., "Handbook of fingerprint recognition", 2nd ed., chapter 6.

    Examples
    --------
    >>> finger = draw_finger(7, 0, pattern=FingerClass.WHORL)
    >>> finger.ridges.shape, 40 < len(finger.minutiae) < 160
    ((496, 384), True)
    """
    parameters = parameters or MasterParameters()
    rng = generator(seed, _STREAM, index)
    model = draw_orientation(rng, pattern)
    x, y = _grid(_SCALE)
    inside = _inside(x, y)
    orientation = model.at(x, y)
    pattern_ = grow(
        orientation,
        _periods(rng, parameters, x, y) / _SCALE,
        inside,
        rng.standard_normal(x.shape, dtype=np.float32),
        parameters.iterations,
    )
    ridges = np.asarray(cv2.resize(pattern_, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_CUBIC), dtype=np.float32)
    inside = _inside(*_grid(1))
    ridges = np.where(inside, ridges, np.float32(0.0))
    return MasterFinger(seed, index, model, ridges, inside, _pores(rng, ridges), _minutiae(ridges > 0, model, inside))


def _grid(scale: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # Centres of pixels `scale` wide, from the pattern's centre.
    x = (np.arange(WIDTH_PX // scale) + 0.5) * scale - 0.5 - CENTRE_PX[0]
    y = (np.arange(HEIGHT_PX // scale) + 0.5) * scale - 0.5 - CENTRE_PX[1]
    return np.broadcast_arrays(x[None, :], y[:, None])  # type: ignore[return-value]


def _inside(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    across, above, below = OUTLINE_PX
    found: NDArray[np.bool_] = (x / across) ** 2 + (y / np.where(y < 0, above, below)) ** 2 < 1
    return found


def _periods(
    rng: np.random.Generator, parameters: MasterParameters, x: NDArray[Any], y: NDArray[Any]
) -> NDArray[np.float64]:
    # Ridges stand closer about and above the centre than towards the flexion crease, and vary slowly everywhere.
    mean = parameters.period_px * (1.0 + parameters.period_spread * float(np.clip(rng.standard_normal(), -2, 2)))
    coarse = rng.standard_normal((6, 5)).astype(np.float32)
    wander = cv2.resize(coarse, (x.shape[1], x.shape[0]), interpolation=cv2.INTER_CUBIC)
    towards_crease = 0.05 * np.tanh((y - 40.0) / 90.0)
    periods: NDArray[np.float64] = mean * (1.0 + towards_crease + 0.04 * np.clip(wander, -2, 2))
    return periods


def _pores(rng: np.random.Generator, ridges: NDArray[np.float32]) -> NDArray[np.float32]:
    # Tried on a jittered lattice; those that fall on the middle of a ridge are pores.
    y, x = np.mgrid[4 : HEIGHT_PX - 4 : _PORES_PX, 4 : WIDTH_PX - 4 : _PORES_PX].reshape(2, -1)
    jitter = rng.integers(-2, 3, (2, len(x)))
    y, x = y + jitter[0], x + jitter[1]
    on_ridge = ridges[y, x] > _PORE_RIDGE
    dots = np.zeros(ridges.shape, dtype=np.float32)
    dots[y[on_ridge], x[on_ridge]] = rng.uniform(3.0, 8.0, int(on_ridge.sum()))
    return np.minimum(np.asarray(cv2.GaussianBlur(dots, (7, 7), 0.9), dtype=np.float32), np.float32(1.0))


def _minutiae(ridges: NDArray[np.bool_], model: OrientationModel, inside: NDArray[np.bool_]) -> Minutiae:
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _EDGE_PX + 1, 2 * _EDGE_PX + 1))
    counted = cv2.erode(inside.astype(np.uint8), element, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    found = ridge_minutiae(ridges, lambda x, y: model.at(x - CENTRE_PX[0], y - CENTRE_PX[1]), counted)
    # A template holds no more than 255: those nearest the centre.
    far = np.hypot(found.x - CENTRE_PX[0], found.y - CENTRE_PX[1])
    order = np.argsort(far, kind="stable")[:MAX_MINUTIAE]
    quality = np.full(len(order), 100, dtype=np.uint8)
    x, y, direction = (values[order] for values in (found.x, found.y, found.direction))
    return minutiae_of(x, y, direction, found.kind[order], quality, WIDTH_PX, HEIGHT_PX)
