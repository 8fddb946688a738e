"""How useful a print is for recognition, 0..100 with the meaning of NFIQ 2, and what the operator can mend.

The overall value is a product: each component, as a share of what a good print has, to a power that was fitted to
NFIQ 2 on the development sets (ADR 9). So a print that fails in one respect is poor whatever the rest. Names are those
of ISO/IEC 29794-4. The least overall values are BSI TR-03121's for enrolment, finger by finger; verification takes a
print as it is.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingerprint.preparation import PreparedPrint
from biometrik.fingerprint.ridges import Ridges, find_ridges
from biometrik.fingerprint.segmentation import GRID_PX
from biometrik.fingers import NATIVE_PPI, FingerPosition, Impression, Minutiae
from biometrik.reasons import Reason
from biometrik.types import Quality, QualityComponent

#: Changes when a component is measured or mapped differently.
ALGORITHM: Final = "biometrik-finger-quality/1"

#: Least overall value of thumb, index, middle, ring and little finger (BSI TR-03121, NFIQ 2): ``plain`` and ``rolled``
#: for a register's references, ``search`` for prints that are only looked up. A finger that is not named is held to the
#: index finger's.
LEAST: Final[Mapping[str, tuple[int, int, int, int, int]]] = MappingProxyType(
    {"plain": (30, 30, 20, 10, 10), "search": (20, 20, 20, 10, 10), "rolled": (20, 15, 15, 10, 5)}
)
_ROLLED: Final = frozenset((Impression.LIVE_ROLLED, Impression.NONLIVE_ROLLED))

#: Measurements that mean 0 and 100. The upper ones are what the better half of the development prints reach.
_RANGES: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "foreground_area": (0.0, 250.0),  # mm²; a plain index finger shows 200 to 300
        "minutiae_count": (0.0, 40.0),  # each counted by its quality
        "local_clarity": (0.6, 1.05),  # amplitude of the ridges where contrast is made even
        "frequency_domain_analysis": (0.45, 0.78),  # share of the energy across the ridges at one frequency
        "contrast": (0.0, 50.0),  # gray levels, standard deviation
        "orientation_certainty_level": (0.4, 0.85),  # coherence of the gradients
        "orientation_flow": (0.88, 0.98),  # agreement of a cell's orientation with those around it
        "ridge_valley_uniformity": (0.25, 0.0),  # the ridges' share of the area, as its distance from one half
    }
)
#: Power of each component in the overall value. The others are advice.
_POWERS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "foreground_area": 0.55,
        "minutiae_count": 0.20,
        "local_clarity": 0.45,
        "frequency_domain_analysis": 0.30,
        "contrast": 0.45,
    }
)
#: The overall value of a print that is full in all components: NFIQ 2 gives hardly any print more.
_BEST: Final = 95.0
#: No component takes more than its power of this from the overall value, so that the poor keep an order.
_FLOOR: Final = 5.0

#: The ridges' share of the area below which a print is dry, and above which it is wet: outside are a seventh each of
#: the development prints.
_DRY, _WET = 0.36, 0.56
#: Window of the contrast, pixels: two ridges.
_CONTRAST_PX: Final = 16
#: Neighbourhood of orientations compared, and whose gradients are, pixels (standard deviation).
_FLOW_CELLS: Final = 1.5
_MM2: Final = (GRID_PX * 25.4 / NATIVE_PPI) ** 2


def assess(
    prepared: PreparedPrint,
    minutiae: Minutiae,
    position: FingerPosition = FingerPosition.UNKNOWN,
    impression: Impression = Impression.LIVE_PLAIN,
    *,
    search: bool = False,
) -> Quality:
    """Measure every component of a print's quality.

    Parameters
    ----------
    prepared : PreparedPrint
        From :func:`biometrik.fingerprint.preparation.prepare`.
    minutiae : Minutiae
        Of this print, from any extractor; they count by their quality, or fully where none is known.
    position : FingerPosition
        Which finger: sets the least overall value.
    impression : Impression
        How it was taken: rolled prints have least values of their own.
    search : bool
        Whether the print is to be looked up rather than to be kept as a reference.

    Returns
    -------
    Quality
        ``overall`` is the component ``unified_quality``, the only one with a threshold; its reason is what costs the
        print most. About 16 ms on one core.

    Raises
    ------
    InvalidInputError
        The position names several fingers.

    References
    ----------
    ISO/IEC 29794-4:2017, clause 6, quality features. E. Tabassi et al., "NIST fingerprint image quality 2", NIST IR
    8382, 2021. BSI TR-03121, least values.
    """
    if not position.is_single:
        raise InvalidInputError(f"position: expected one finger, got {position.name}; assess each finger by itself")
    ridges = find_ridges(prepared.pixels)
    measured = _measure(prepared.pixels, ridges)
    measured["minutiae_count"] = float(minutiae.quality.sum()) / 100 if minutiae.quality.any() else len(minutiae)
    components = {name: _component(name, value) for name, value in measured.items()}
    losses = {name: power * math.log(max(components[name].value, _FLOOR) / 100) for name, power in _POWERS.items()}
    overall = _BEST * math.exp(sum(losses.values())) if ridges.inside.any() else 0.0
    profile = "rolled" if impression in _ROLLED else "search" if search else "plain"
    least = LEAST[profile][(position - 1) % 5 if 1 <= position <= 10 else 0 if position > 10 else 1]
    cause = _advice(min(losses, key=lambda name: losses[name]), ridges, prepared, measured["ridge_valley_uniformity"])
    unified = QualityComponent(
        "unified_quality", overall, overall, "NFIQ 2", float(least), cause if overall < least else None
    )
    return Quality(overall, f"{ALGORITHM} {profile}", (*components.values(), unified))


def _component(name: str, measured: float) -> QualityComponent:
    low, high = _RANGES[name]
    height = abs(measured - 0.5) if name == "ridge_valley_uniformity" else measured
    value = min(100.0, max(0.0, 100 * (height - low) / (high - low)))
    return QualityComponent(name, value, measured, _UNITS.get(name, ""), 0.0, None)


_UNITS: Final = {"foreground_area": "mm²", "minutiae_count": "minutiae", "contrast": "gray levels"}


def _measure(pixels: NDArray[np.uint8], ridges: Ridges) -> dict[str, float]:
    inside = ridges.inside
    area = float(inside.sum()) * _MM2
    if not inside.any():
        # Nothing can be measured where there are no ridges: every component is at its worst.
        return dict.fromkeys(_RANGES, 0.0)
    within = cv2.resize(inside.astype(np.uint8), pixels.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    window = _CONTRAST_PX, _CONTRAST_PX
    mean = cv2.boxFilter(pixels, cv2.CV_32F, window)
    variance = cv2.sqrBoxFilter(pixels, cv2.CV_32F, window) - mean * mean
    even, odd = np.cos(2 * ridges.angle), np.sin(2 * ridges.angle)
    around = np.hypot(*(cv2.GaussianBlur(part, (0, 0), _FLOW_CELLS) for part in (even, odd)))
    sampled = inside & (ridges.regularity > 0)
    return {
        "foreground_area": area,
        "local_clarity": float(ridges.amplitude[inside].mean()),
        "frequency_domain_analysis": float(ridges.regularity[sampled].mean()) if sampled.any() else 0.0,
        "contrast": float(np.sqrt(np.maximum(variance[within], 0)).mean()),
        "orientation_certainty_level": float(ridges.certainty[inside].mean()),
        "orientation_flow": float(around[inside].mean()),
        "ridge_valley_uniformity": float((ridges.flat[within] > 0).mean()),
    }


def _advice(component: str, ridges: Ridges, prepared: PreparedPrint, ridge_share: float) -> Reason:
    # What would raise this component.
    if not ridges.inside.any():
        return Reason.NO_FINGERPRINT
    if component == "foreground_area":
        return _move(ridges.inside, prepared)
    if component == "minutiae_count":
        return Reason.TOO_FEW_MINUTIAE
    if ridge_share < _DRY:
        return Reason.PRESS_HARDER
    if ridge_share > _WET:
        return Reason.PRESS_SOFTER
    return Reason.CLEAN_SENSOR if component == "contrast" else Reason.KEEP_FINGER_STILL


def _move(inside: NDArray[np.bool_], prepared: PreparedPrint) -> Reason:
    # Where the print is cut by one side of the image and well within the opposite one, the finger lies too far there.
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    left, right = prepared.left + columns[0] * GRID_PX, prepared.left + (columns[-1] + 1) * GRID_PX
    top, bottom = prepared.top + rows[0] * GRID_PX, prepared.top + (rows[-1] + 1) * GRID_PX
    room = {
        Reason.MOVE_FINGER_RIGHT: (left, prepared.width_px - right),
        Reason.MOVE_FINGER_LEFT: (prepared.width_px - right, left),
        Reason.MOVE_FINGER_DOWN: (top, prepared.height_px - bottom),
        Reason.MOVE_FINGER_UP: (prepared.height_px - bottom, top),
    }
    cut = {reason: other for reason, (here, other) in room.items() if here < 2 * GRID_PX and other > 6 * GRID_PX}
    return max(cut, key=lambda reason: cut[reason]) if cut else Reason.WHOLE_FINGERTIP
