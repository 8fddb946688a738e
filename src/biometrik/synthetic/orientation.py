"""Where the ridges of a SYNTHETIC finger run: its pattern class, its singular points, the field they span.

Coordinates are pixels at 500 ppi around the pattern's centre, x to the right and y down, as everywhere; inside, y
points up, because the papers' signs are then theirs.
"""

import bisect
import itertools
import math
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError


class FingerClass(Enum):
    """The pattern of a finger, after Galton and Henry."""

    ARCH = "arch"
    TENTED_ARCH = "tented-arch"
    LEFT_LOOP = "left-loop"
    RIGHT_LOOP = "right-loop"
    WHORL = "whorl"
    DOUBLE_LOOP = "double-loop"


#: How often each occurs. C. L. Wilson et al., "Massively parallel neural network fingerprint classification system",
#: NISTIR 4880, 1992, has 27.9 % whorls; a fifth of those are taken to be double loops.
CLASS_SHARES: Final = {
    FingerClass.ARCH: 0.037,
    FingerClass.TENTED_ARCH: 0.029,
    FingerClass.LEFT_LOOP: 0.338,
    FingerClass.RIGHT_LOOP: 0.317,
    FingerClass.WHORL: 0.223,
    FingerClass.DOUBLE_LOOP: 0.056,
}
_CLASSES: Final = tuple(CLASS_SHARES)
#: The share of each class and those before it, without the last, which takes what is left.
_UP_TO: Final = tuple(itertools.accumulate(CLASS_SHARES.values()))[:-1]

#: Waves of the slow wander that no two fingers share: number, root mean square (radians), wavelengths (px).
_WAVES: Final = 6
_WANDER_RAD: Final = 0.09
_WAVELENGTH_PX: Final = (170.0, 420.0)


@dataclass(frozen=True, slots=True, eq=False)
class OrientationModel:
    """The ridge orientation of one SYNTHETIC finger, at any point.

    Parameters
    ----------
    pattern : FingerClass
        Its class.
    cores, deltas : (K, 2) float64
        Loop and delta points (x, y), pixels from the pattern's centre, y down; as many of one as of the other.
    bend : float
        How far the ridges at the sides of the finger lean from the horizontal, radians, 0..π/2.
    hump : float
        Slope of an arch's ridges at the flanks of its hump, radians; 0 for the other classes.
    waves : (W, 4) float64
        The finger's own wander: wave vector (radians a pixel; x, y), phase (radians), amplitude (radians).
    """

    pattern: FingerClass
    cores: NDArray[np.float64]
    deltas: NDArray[np.float64]
    bend: float
    hump: float
    waves: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.cores.shape != self.deltas.shape or self.cores.ndim != 2 or self.cores.shape[1] != 2:
            raise InvalidInputError(
                f"cores, deltas: expected (K, 2) each with one K, got {self.cores.shape} and {self.deltas.shape}"
            )
        if self.waves.ndim != 2 or self.waves.shape[1] != 4:
            raise InvalidInputError(f"waves: expected (W, 4), got {self.waves.shape}")

    def at(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
        """Return the orientation of the ridges at points of the finger.

        Parameters
        ----------
        x, y : (...) float
            Pixels from the pattern's centre, y down; of shapes that broadcast.

        Returns
        -------
        (...) float64
            Radians in [0, π), as in images: 0 is horizontal, growing clockwise on the screen.

        Notes
        -----
        The zero-pole model of Sherlock and Monro: half the angles seen from the cores less half those from the deltas.
        Each angle α is first corrected, as Vizcaya and Gerhardt do, so that the sides of the finger lean as they
        should; the correction is here the harmonic −a·cos α, which unlike their piecewise line has no kinks.

        References
        ----------
        B. Sherlock, D. Monro, "A model for interpreting fingerprint topology", Pattern Recognition 26(7), 1993.
        P. Vizcaya, L. Gerhardt, "A nonlinear orientation model for global description of fingerprints", Pattern
        Recognition 29(7), 1996.
        """
        x, up = np.broadcast_arrays(np.asarray(x, dtype=np.float64), -np.asarray(y, dtype=np.float64))
        angle = self._arch(x, up) if self.pattern is FingerClass.ARCH else np.zeros(x.shape)
        _add(x.ravel(), up.ravel(), self.cores, self.deltas, self.bend, self.waves, angle.reshape(-1))
        turned: NDArray[np.float64] = np.mod(-angle, math.pi)
        return np.where(turned >= math.pi, 0.0, turned)  # a tiny negative angle rounds to π

    def _arch(self, x: NDArray[np.float64], up: NDArray[np.float64]) -> NDArray[np.float64]:
        # The fingertip's bow above, which flattens out downwards, and a hump about the centre.
        tip = self.bend * np.tanh(x / 150.0) / (1.0 + np.exp(-(up + 10.0) / 55.0))
        flank = self.hump * np.sin(np.clip(x / 95.0, -math.pi, math.pi)) * np.exp(-(((up + 20.0) / 110.0) ** 2))
        return -(tip + flank)


def draw_orientation(rng: np.random.Generator, pattern: FingerClass | None = None) -> OrientationModel:
    """Draw the orientation of a SYNTHETIC finger.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    pattern : FingerClass, optional
        The class; drawn by :data:`CLASS_SHARES` where None.

    Returns
    -------
    OrientationModel

    Examples
    --------
    >>> model = draw_orientation(np.random.default_rng(1), FingerClass.WHORL)
    >>> len(model.cores), len(model.deltas)
    (2, 2)
    """
    if pattern is None:
        pattern = _CLASSES[bisect.bisect(_UP_TO, rng.random())]
    cores, deltas = _singular_points(rng, pattern)
    turns = rng.uniform(0.0, 2 * math.pi, _WAVES)
    numbers = 2 * math.pi / rng.uniform(*_WAVELENGTH_PX, _WAVES)
    amplitudes = rng.normal(0.0, _WANDER_RAD * math.sqrt(2 / _WAVES), _WAVES)
    phases = rng.uniform(0.0, 2 * math.pi, _WAVES)
    waves = np.array([numbers * np.cos(turns), numbers * np.sin(turns), phases, amplitudes]).T.copy()
    hump = float(rng.uniform(0.3, 0.75)) if pattern is FingerClass.ARCH else 0.0
    return OrientationModel(pattern, cores, deltas, float(rng.uniform(0.75, 1.15)), hump, waves)


def _singular_points(rng: np.random.Generator, pattern: FingerClass) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # Distances and angles were tuned by eye on the prints of the development sets, see ADR 8.
    def delta(side: float, spread: tuple[float, float], distance: tuple[float, float]) -> list[float]:
        turn = math.radians(rng.uniform(*spread))
        far = float(np.clip(rng.normal(*distance), 80.0, 260.0))
        return [side * far * math.sin(turn), far * math.cos(turn)]

    if pattern is FingerClass.ARCH:
        return np.empty((0, 2)), np.empty((0, 2))
    if pattern is FingerClass.TENTED_ARCH:
        return np.array([[0.0, 0.0]]), np.array([[rng.normal(0.0, 4.0), rng.uniform(60.0, 110.0)]])
    if pattern in (FingerClass.LEFT_LOOP, FingerClass.RIGHT_LOOP):
        side = 1.0 if pattern is FingerClass.LEFT_LOOP else -1.0
        return np.array([[0.0, 0.0]]), np.array([delta(side, (33.0, 58.0), (155.0, 32.0))])
    deltas = np.array([delta(side, (40.0, 65.0), (175.0, 30.0)) for side in (-1.0, 1.0)])
    if pattern is FingerClass.WHORL:
        half, lean = rng.uniform(4.0, 24.0), rng.normal(0.0, 0.25)
    else:
        half, lean = rng.uniform(32.0, 50.0), rng.choice([-1.0, 1.0]) * rng.uniform(0.6, 1.25)
    core = half * np.array([math.sin(lean), -math.cos(lean)])
    return np.array([core, -core]), deltas


@njit(cache=True, nogil=True)
def _add(
    x: NDArray[np.float64],
    up: NDArray[np.float64],
    cores: NDArray[np.float64],
    deltas: NDArray[np.float64],
    bend: float,
    waves: NDArray[np.float64],
    angle: NDArray[np.float64],
) -> None:
    # In place: what singular points and waves do. Far from the points every corrected angle adds −½·a·cos, of which
    # there are two for each core: a is chosen so that they sum up to −bend·cos.
    half = 0.5 * bend / max(len(cores), 1)
    for i in range(len(x)):
        total = angle[i]
        for k in range(len(cores)):
            seen = math.atan2(up[i] + cores[k, 1], x[i] - cores[k, 0])
            total += 0.5 * seen - half * math.cos(seen)
            seen = math.atan2(up[i] + deltas[k, 1], x[i] - deltas[k, 0])
            total -= 0.5 * seen + half * math.cos(seen)
        for k in range(len(waves)):
            total += waves[k, 3] * math.sin(waves[k, 0] * x[i] - waves[k, 1] * up[i] + waves[k, 2])
        angle[i] = total
