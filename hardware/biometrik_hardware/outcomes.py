"""Why a person should present the finger again: an outcome of a capture, not an error."""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

Locale = Literal["en", "id"]


class RetryReason(Enum):
    """A stable code for what the person should do; the words are BSI TR-03121's guidance, see :meth:`text`."""

    PRESS_HARDER = "PRESS_HARDER"
    PRESS_SOFTER = "PRESS_SOFTER"
    MOVE_LEFT = "MOVE_LEFT"
    MOVE_RIGHT = "MOVE_RIGHT"
    MOVE_UP = "MOVE_UP"
    MOVE_DOWN = "MOVE_DOWN"
    CENTRE_FINGER = "CENTRE_FINGER"
    KEEP_STILL = "KEEP_STILL"
    REMOVE_FINGER = "REMOVE_FINGER"
    LIFTED_TOO_SOON = "LIFTED_TOO_SOON"
    CLEAN_SENSOR = "CLEAN_SENSOR"
    TRANSFER_FAILED = "TRANSFER_FAILED"

    def text(self, locale: Locale = "en") -> str:
        """Return what the person or the operator should do.

        Parameters
        ----------
        locale : {"en", "id"}
            English or Indonesian.

        Examples
        --------
        >>> RetryReason.KEEP_STILL.text()
        'Keep the finger still until the scanner is done.'
        """
        english, indonesian = _TEXTS[self]
        return indonesian if locale == "id" else english


_TEXTS: Final[dict[RetryReason, tuple[str, str]]] = {
    RetryReason.PRESS_HARDER: ("Press a little harder.", "Tekan sedikit lebih kuat."),
    RetryReason.PRESS_SOFTER: ("Press more softly.", "Tekan lebih pelan."),
    RetryReason.MOVE_LEFT: ("Move the finger to the left.", "Geser jari ke kiri."),
    RetryReason.MOVE_RIGHT: ("Move the finger to the right.", "Geser jari ke kanan."),
    RetryReason.MOVE_UP: ("Move the finger up.", "Geser jari ke atas."),
    RetryReason.MOVE_DOWN: ("Move the finger down.", "Geser jari ke bawah."),
    RetryReason.CENTRE_FINGER: (
        "Place the finger on the middle of the scanner.",
        "Letakkan jari di tengah pemindai.",
    ),
    RetryReason.KEEP_STILL: (
        "Keep the finger still until the scanner is done.",
        "Jangan gerakkan jari sampai pemindai selesai.",
    ),
    RetryReason.REMOVE_FINGER: ("Lift the finger, then place it again.", "Angkat jari, lalu letakkan lagi."),
    RetryReason.LIFTED_TOO_SOON: (
        "The finger was lifted too soon: leave it until the scanner is done.",
        "Jari diangkat terlalu cepat: biarkan sampai pemindai selesai.",
    ),
    RetryReason.CLEAN_SENSOR: (
        "Wipe the scanner and the finger, then try again.",
        "Bersihkan pemindai dan jari, lalu coba lagi.",
    ),
    RetryReason.TRANSFER_FAILED: (
        "The image was lost on its way: place the finger again.",
        "Gambar hilang saat dikirim: letakkan jari lagi.",
    ),
}


@dataclass(frozen=True, slots=True)
class Retry:
    """A capture that gave no image, because the person should present the finger again.

    Parameters
    ----------
    reason : RetryReason
        What to do.
    """

    reason: RetryReason
