"""Any scanner whose vendor's program can save files: watches the folder into which it writes.

PNG, BMP, JPEG, TIFF, JPEG 2000 and WSQ; the path is the folder. See :class:`biometrik_hardware.inbox.Inbox` for when
a file counts, and for what becomes of it. It cannot be discovered: name it by hand, ``folder:/path``.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from biometrik.errors import ImageError, ResolutionMissingError
from biometrik.finger_imaging import decode_print
from biometrik.fingers import FingerPosition
from biometrik_hardware.deadline import Deadline
from biometrik_hardware.errors import DeviceProtocolError
from biometrik_hardware.events import DeviceInfo
from biometrik_hardware.fingerprint.scanner import FingerprintScanner, Taken
from biometrik_hardware.inbox import Inbox
from biometrik_hardware.outcomes import Retry, RetryReason


class FolderScanner(FingerprintScanner):
    """See the module docstring.

    Parameters
    ----------
    info : DeviceInfo
        Which folder.
    ppi : float or None
        Of the scanner, pixels an inch; None takes what each file states.
    rest_s : float
        How long a file has to stay as it is, seconds.
    """

    driver = "folder"

    def __init__(self, info: DeviceInfo, *, ppi: float | None = None, rest_s: float = 0.2, **device: Any) -> None:
        super().__init__(replace(info, ppi=ppi), **device)
        self._rest_s = rest_s

    @classmethod
    def discover(cls) -> Iterator[DeviceInfo]:
        """Yield nothing: any folder could be meant."""
        yield from ()

    def _open(self, deadline: Deadline) -> None:
        self._inbox = Inbox(Path(self.info.path), self.info.id, self._rest_s)

    def _close(self) -> None:
        pass

    def _read(self, position: FingerPosition, deadline: Deadline) -> Taken | None:
        self._inbox.begin()
        data = self._inbox.take(deadline)
        if data is None:
            return None
        try:
            return decode_print(data, ppi=self.info.ppi, position=position)
        except ResolutionMissingError as error:
            raise DeviceProtocolError(
                f"{self.info.id}: expected files that state ppi, got one without; state it"
            ) from error
        except ImageError:
            return Retry(RetryReason.TRANSFER_FAILED)


DRIVER = FolderScanner
