"""Pictures of prints: with their minutiae, and two side by side with the pairs that were found."""

import math
from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingerprint.preparation import resampled
from biometrik.fingers import FingerprintImage, Minutiae, MinutiaKind

#: Pixels of the picture a pixel of the print.
_SCALE: Final = 2
#: Length of a direction's line and radius of a mark, pixels of the print: two ridges, and half a one.
_LINE_PX: Final = 16
_MARK_PX: Final = 4
_GAP_PX: Final = 12
#: Positions are given to OpenCV in sixteenths of a pixel.
_SHIFT: Final = 4

#: Colours tell kinds apart for people who cannot tell red from green, too (M. Okabe, K. Ito, 2008); BGR.
_COLOURS: Final = {
    MinutiaKind.ENDING: (0, 94, 213),  # vermilion
    MinutiaKind.BIFURCATION: (178, 114, 0),  # blue
    MinutiaKind.OTHER: (115, 158, 0),  # green
}
#: What a minutia without a partner is drawn in.
_PALE: Final = (150, 150, 150)
_WHITE: Final = (255, 255, 255)


def draw_minutiae(image: FingerprintImage, minutiae: Minutiae) -> bytes:
    """Return a picture of a print with its minutiae: circles are ridge endings, squares bifurcations.

    Parameters
    ----------
    image : FingerprintImage
        Of any resolution; drawn at 500 ppi, two pixels a pixel.
    minutiae : Minutiae
        Of this print. The better, the stronger the line.

    Returns
    -------
    bytes
        A PNG file. It shows a person's print: biometric data.

    Raises
    ------
    InvalidInputError
        The minutiae are those of a print of another size.

    Examples
    --------
    >>> none = np.zeros(0, np.float32)
    >>> minutiae = Minutiae(none, none, none, none.astype(np.uint8), none.astype(np.uint8), 60, 80)
    >>> draw_minutiae(FingerprintImage(np.full((80, 60), 255, np.uint8), 500.0), minutiae)[1:4]
    b'PNG'
    """
    return _png(_drawn(image, minutiae, range(len(minutiae))))


def draw_pairs(
    probe: FingerprintImage,
    probe_minutiae: Minutiae,
    reference: FingerprintImage,
    reference_minutiae: Minutiae,
    pairs: Sequence[tuple[int, int]] | NDArray[np.integer[Any]],
) -> bytes:
    """Return a picture of two prints side by side, with a line from each minutia to its partner.

    Parameters
    ----------
    probe, reference : FingerprintImage
        Left and right.
    probe_minutiae, reference_minutiae : Minutiae
        Theirs; those without a partner are pale.
    pairs : (P, 2) int
        Indices of the probe's minutia and of the reference's.

    Returns
    -------
    bytes
        A PNG file. It shows a person's prints: biometric data.

    Raises
    ------
    InvalidInputError
        Minutiae of a print of another size, or a pair that names a minutia that is not there.
    """
    rows = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    counts = len(probe_minutiae), len(reference_minutiae)
    if ((rows < 0) | (rows >= counts)).any():
        raise InvalidInputError(f"pairs: expected indices below {counts[0]} and {counts[1]}, got others")
    left = _drawn(probe, probe_minutiae, rows[:, 0].tolist())
    right = _drawn(reference, reference_minutiae, rows[:, 1].tolist())
    offset = left.shape[1] + _SCALE * _GAP_PX
    height = max(left.shape[0], right.shape[0])
    canvas = np.full((height, offset + right.shape[1], 3), _WHITE, dtype=np.uint8)
    canvas[: left.shape[0], : left.shape[1]] = left
    canvas[: right.shape[0], offset:] = right
    for k, (i, j) in enumerate(rows.tolist()):
        start = _point(probe_minutiae.x[i], probe_minutiae.y[i])
        end = _point(reference_minutiae.x[j], reference_minutiae.y[j])
        end = end[0] + (offset << _SHIFT), end[1]
        # Neighbouring lines in different hues, so that the eye can follow one.
        hue = np.array([[[(k * 67) % 180, 200, 190]]], dtype=np.uint8)
        colour = [int(v) for v in cv2.cvtColor(hue, cv2.COLOR_HSV2BGR)[0, 0]]
        cv2.line(canvas, start, end, colour, 1, cv2.LINE_AA, _SHIFT)
    return _png(canvas)


def _drawn(image: FingerprintImage, minutiae: Minutiae, strong: Sequence[int]) -> NDArray[np.uint8]:
    pixels = resampled(image.pixels, image.ppi)
    height, width = pixels.shape
    if (minutiae.width_px, minutiae.height_px) != (width, height):
        raise InvalidInputError(
            f"minutiae: expected those of a print of {width} x {height} px at 500 ppi, got {minutiae.width_px} x "
            f"{minutiae.height_px}"
        )
    # Paler than it is, so that the marks stand out.
    pale = (255 - (255 - pixels.astype(np.uint16)) * 2 // 3).astype(np.uint8)
    size = _SCALE * width, _SCALE * height
    enlarged = cv2.resize(pale, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)
    canvas: NDArray[np.uint8] = np.repeat(enlarged[:, :, None], 3, axis=2)
    chosen = set(strong)
    for i in sorted(range(len(minutiae)), key=chosen.__contains__):
        kind = MinutiaKind(int(minutiae.kind[i]))
        colour = _COLOURS[kind] if i in chosen else _PALE
        thickness = 2 if i in chosen and (minutiae.quality[i] >= 50 or not minutiae.quality.any()) else 1
        x, y, turn = float(minutiae.x[i]), float(minutiae.y[i]), float(minutiae.direction[i])
        start = _point(x + _MARK_PX * math.cos(turn), y + _MARK_PX * math.sin(turn))
        end = _point(x + _LINE_PX * math.cos(turn), y + _LINE_PX * math.sin(turn))
        cv2.line(canvas, start, end, colour, thickness, cv2.LINE_AA, _SHIFT)
        if kind == MinutiaKind.BIFURCATION:
            low, high = _point(x - _MARK_PX, y - _MARK_PX), _point(x + _MARK_PX, y + _MARK_PX)
            cv2.rectangle(canvas, low, high, colour, thickness, cv2.LINE_AA, _SHIFT)
        else:
            radius = (_SCALE * _MARK_PX) << _SHIFT
            cv2.circle(canvas, _point(x, y), radius, colour, thickness, cv2.LINE_AA, _SHIFT)
    return canvas


def _point(x: float, y: float) -> tuple[int, int]:
    # From the middle of a pixel of the print to the picture's sixteenths.
    return tuple(round((_SCALE * (float(v) + 0.5) - 0.5) * (1 << _SHIFT)) for v in (x, y))  # type: ignore[return-value]


def _png(canvas: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", canvas)[1].tobytes())
