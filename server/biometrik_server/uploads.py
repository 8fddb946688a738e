"""Samples that come in pieces, kept in memory until they are used."""

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from biometrik.errors import ImageTooLargeError, QueueFullError, UploadIncompleteError, UploadNotFoundError

#: After its first use an upload can be named again for so long: clients repeat a call within a few seconds.
REPEAT_S: Final = 10.0


@dataclass(slots=True)
class _Upload:
    owner: str
    size: int
    expires_at: float
    data: bytearray = field(default_factory=bytearray)


class Uploads:
    """Bounded memory for uploads; thread-safe.

    Parameters
    ----------
    max_bytes_each, max_bytes_all : int
        Of one upload, and of all that wait or arrive.
    lifetime_s : float
        After its last piece an upload waits this long; one that has begun must end within it.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self, *, max_bytes_each: int, max_bytes_all: int, lifetime_s: float, clock: Callable[[], float]
    ) -> None:
        self._max_each = max_bytes_each
        self._max_all = max_bytes_all
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._lock = threading.Lock()
        self._uploads: dict[str, _Upload] = {}

    def begin(self, owner: str, size: int) -> str:
        """Reserve room for an upload and return its id.

        Raises
        ------
        ImageTooLargeError
            It would be larger than an image may be.
        QueueFullError
            Too much is waiting.
        UploadIncompleteError
            The size is zero.
        """
        if size < 1:
            raise UploadIncompleteError("total_size_bytes: expected the size of the sample, got 0")
        if size > self._max_each:
            raise ImageTooLargeError(f"total_size_bytes: expected at most {self._max_each}, got {size}")
        with self._lock:
            self._drop_expired()
            if sum(upload.size for upload in self._uploads.values()) + size > self._max_all:
                raise QueueFullError("uploads: too many are waiting; try again in a moment")
            upload_id = secrets.token_urlsafe(24)
            self._uploads[upload_id] = _Upload(owner, size, self._clock() + self._lifetime_s)
        return upload_id

    def add(self, upload_id: str, chunk: bytes) -> None:
        """Take the next piece.

        Raises
        ------
        UploadIncompleteError
            More came than was announced.
        UploadNotFoundError
            It took too long, and is gone.
        """
        with self._lock:
            upload = self._get(upload_id)
            if len(upload.data) + len(chunk) > upload.size:
                raise UploadIncompleteError(f"upload: expected {upload.size} bytes, got more")
            upload.data += chunk

    def finish(self, upload_id: str, sha256: bytes) -> float:
        """Check what came, and return for how many seconds it waits.

        Raises
        ------
        UploadIncompleteError
            Size or digest does not fit; the upload is dropped.
        UploadNotFoundError
            It took too long, and is gone.
        """
        with self._lock:
            upload = self._get(upload_id)
            whole = len(upload.data) == upload.size
            if whole and (not sha256 or hmac.compare_digest(hashlib.sha256(upload.data).digest(), sha256)):
                upload.expires_at = self._clock() + self._lifetime_s
                return self._lifetime_s
            del self._uploads[upload_id]
            what = "another SHA-256" if whole else f"{len(upload.data)} of {upload.size} bytes"
        raise UploadIncompleteError(f"upload: expected what was announced, got {what}")

    def drop(self, upload_id: str) -> None:
        """Forget an upload, whether or not it is there."""
        with self._lock:
            self._uploads.pop(upload_id, None)

    def take(self, upload_id: str, owner: str) -> bytes:
        """Return a finished upload. It then makes room soon, but not at once: a call that is repeated because its
        answer was lost on the line names it again.

        Raises
        ------
        UploadNotFoundError
            It is not there, not finished, was used some time ago, expired, or belongs to another client.
        """
        with self._lock:
            self._drop_expired()
            upload = self._uploads.get(upload_id)
            if upload is None or upload.owner != owner or len(upload.data) != upload.size:
                raise UploadNotFoundError("upload_id: unknown, used or expired; upload the sample again")
            upload.expires_at = min(upload.expires_at, self._clock() + REPEAT_S)
            return bytes(upload.data)

    @property
    def waiting_bytes(self) -> int:
        """Bytes reserved at present."""
        with self._lock:
            self._drop_expired()
            return sum(upload.size for upload in self._uploads.values())

    def _get(self, upload_id: str) -> _Upload:
        self._drop_expired()
        if upload_id not in self._uploads:
            raise UploadNotFoundError("upload: took too long and was dropped; upload the sample again")
        return self._uploads[upload_id]

    def _drop_expired(self) -> None:
        now = self._clock()
        for upload_id in [key for key, upload in self._uploads.items() if upload.expires_at < now]:
            del self._uploads[upload_id]
