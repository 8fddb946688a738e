"""SYNTHETIC prints as files that say what they are."""

import struct
import zlib
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingers import FingerprintImage

#: What every file says in its metadata, in a PNG text chunk of keyword "Source".
MARK: Final = "SYNTHETIC fingerprint, made by biometrik.synthetic: it is nobody's"
_WORD: Final = "SYNTHETIC"
_METRES_AN_INCH: Final = 0.0254


def png(image: FingerprintImage, *, drawn: bool = False) -> bytes:
    """Return a print as a PNG file that states its resolution, and that it is synthetic.

    Parameters
    ----------
    image : FingerprintImage
        Of :func:`biometrik.synthetic.impressions.draw_impression`.
    drawn : bool
        Draw the word SYNTHETIC into the bottom margin too, for people to see. Only then do pixels change.

    Returns
    -------
    bytes
        With chunks ``pHYs`` and ``tEXt`` (:data:`MARK`).

    References
    ----------
    ISO/IEC 15948:2004 (PNG), 11.3.4.3 and 11.3.5.3.
    """
    pixels = stamped(image.pixels) if drawn else image.pixels
    _, encoded = cv2.imencode(".png", pixels)
    plain = encoded.tobytes()
    per_metre = round(image.ppi / _METRES_AN_INCH)
    extra = _chunk(b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1)) + _chunk(
        b"tEXt", b"Source\0" + MARK.encode("latin-1")
    )
    header = 8 + 25  # signature and IHDR
    return plain[:header] + extra + plain[header:]


def stamped(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a copy with the word SYNTHETIC in its bottom left corner.

    Parameters
    ----------
    pixels : (H, W) uint8
        Gray, at least 32 pixels high and 100 wide.

    Raises
    ------
    InvalidInputError
        Too small for the word.

    Examples
    --------
    >>> int(stamped(np.full((64, 128), 255, dtype=np.uint8)).min()) < 128
    True
    """
    if pixels.ndim != 2 or pixels.shape[0] < 32 or pixels.shape[1] < 100:
        raise InvalidInputError(f"pixels: expected (H, W) of at least 32 × 100, got {pixels.shape}")
    marked = pixels.copy()
    cv2.putText(marked, _WORD, (4, len(marked) - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (90,), 1, cv2.LINE_AA)
    return marked


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
