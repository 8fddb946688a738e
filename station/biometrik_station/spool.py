"""Enrolments kept on disk, encrypted, until the service has answered: nothing lost, nothing readable.

A folder with a file an entry::

    00001795536000000000000-5f1d20c3.entry    b"BMSPOOL1" + nonce (12) + AES-256-GCM(EnrollRequest); binds the name
    aside/00001795….entry                     damaged or refused: never sent again by itself, never in the way
    aside/00001795….why                       in one line

Names sort in the order of keeping, and say nothing of the person.
"""

import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import DecodeError

from biometrik.errors import InvalidInputError, PluginNotFoundError, QueueFullError, StoreUnavailableError
from biometrik.v1 import enrollment_service_pb2 as pb

_MAGIC: Final = b"BMSPOOL1"
_KEY_BYTES: Final = 32
#: NIST SP 800-38D, 8.2.2: random nonces of 96 bits do for 2³² entries under one key.
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
#: Largest entry: a service's usual max_message_bytes.
_MAX_ENTRY_BYTES: Final = 16 << 20
_SUFFIX: Final = ".entry"
_PART: Final = ".part"
_WHY: Final = ".why"
#: Sealed when the folder is begun: tells whether a key is that of the folder.
_KEY_CHECK: Final = "key-check"


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry.

    Parameters
    ----------
    name : str
        Of its file; says nothing of the person.
    since : datetime
        When it was kept, UTC.
    size_bytes : int
        Of its file.
    why : str
        Why it was set aside; "" where it waits to be sent.
    """

    name: str
    since: datetime
    size_bytes: int
    why: str = ""


class DamagedEntryError(Exception):
    """An entry is not what was kept; it has been set aside."""


class Spool:
    """A folder of encrypted enrolments; several programs may use it at once.

    Parameters
    ----------
    folder : Path
        Made, for its owner only, if it is not there.
    key_file : Path
        32 random bytes as 64 hexadecimal digits (``openssl rand -hex 32``), readable by its owner only. Not in
        ``folder``: whoever takes the disk of one should not have the other.
    max_entries, max_bytes : int
        Bounds on what is kept at once, entries set aside included.

    Raises
    ------
    InvalidInputError
        There is no key, others may read it, it is not one, or not that of the folder.
    PluginNotFoundError
        The package cryptography is missing.
    StoreUnavailableError
        The folder cannot be used.
    """

    def __init__(self, folder: Path, key_file: Path, *, max_entries: int = 10_000, max_bytes: int = 4 << 30) -> None:
        self._cipher = _cipher(_key(key_file))
        self._folder, self._aside = folder, folder / "aside"
        self._bounds = max_entries, max_bytes
        with _disk():
            self._aside.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            with self._locked():
                for part in folder.rglob(f"*{_PART}"):  # of a program that ended in the middle: nobody was told of it
                    part.unlink(missing_ok=True)
                self._check_key(key_file)

    def keep(self, request: pb.EnrollRequest) -> str:
        """Put an enrolment on disk and return its entry's name; when this returns, a power cut does not lose it.

        Raises
        ------
        InvalidInputError
            It has no transaction id, a sample in it is an upload, or it is larger than a message may be.
        QueueFullError
            As much is kept as may be.
        StoreUnavailableError
            It cannot be written: disk full, read-only, gone. Nothing is kept then.
        """
        if not request.context.transaction_id:
            raise InvalidInputError("enrolment: expected a transaction id, under which it can be repeated; got none")
        if any(row.sample.WhichOneof("content") == "upload_id" for row in request.samples):
            raise InvalidInputError("enrolment: expected samples with their content, got an upload, which expires")
        data = request.SerializeToString()
        if len(data) > _MAX_ENTRY_BYTES:
            raise InvalidInputError(
                f"enrolment: expected at most {_MAX_ENTRY_BYTES} bytes, got {len(data)}; make samples compact"
            )
        with _disk(), self._locked():
            name = self._next_name()
            sealed = self._sealed(data, name)
            self._check_room(len(sealed))
            _write(self._folder / name, sealed)
        return name

    def waiting(self) -> list[Kept]:
        """Return what waits to be sent, the oldest first."""
        return [_kept(path) for path in _entries(self._folder)]

    def aside(self) -> list[Kept]:
        """Return what was set aside, with the reasons."""
        return [_kept(path, _reason(path)) for path in _entries(self._aside)]

    def read(self, name: str) -> pb.EnrollRequest | None:
        """Return what is kept under a name; None where it has been sent meanwhile.

        Raises
        ------
        DamagedEntryError
            The file is not what was written. It is set aside.
        StoreUnavailableError
            It cannot be read.
        """
        with _disk():
            try:
                with (self._folder / name).open("rb") as file:
                    sealed = file.read(_MAX_ENTRY_BYTES + 1024)
            except FileNotFoundError:
                return None
        try:
            return pb.EnrollRequest.FromString(self._opened(sealed, name))
        except (ValueError, DecodeError):
            why = "damaged"
            self.set_aside(name, why)
            raise DamagedEntryError(f"{name}: {why}") from None

    def remove(self, name: str) -> None:
        """Forget an entry whose answer is there; twice is fine."""
        with _disk():
            (self._folder / name).unlink(missing_ok=True)
            _sync(self._folder)

    def set_aside(self, name: str, why: str) -> None:
        """Take an entry out of the way of the others, with a reason for whoever looks after it."""
        with _disk():
            reason = (self._aside / name).with_suffix(_WHY)
            _write(reason, " ".join(why.split()).encode())
            try:
                (self._folder / name).replace(self._aside / name)
            except FileNotFoundError:  # another program had its answer meanwhile
                reason.unlink(missing_ok=True)
            _sync(self._aside)
            _sync(self._folder)

    def _sealed(self, data: bytes, name: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return bytes(_MAGIC + nonce + self._cipher.encrypt(nonce, data, _MAGIC + name.encode()))

    def _opened(self, sealed: bytes, name: str) -> bytes:
        # Raises ValueError for what was not sealed under this key and name.
        from cryptography.exceptions import InvalidTag

        start = len(_MAGIC) + _NONCE_BYTES
        if not sealed.startswith(_MAGIC) or len(sealed) < start + _TAG_BYTES:
            raise ValueError
        try:
            return bytes(self._cipher.decrypt(sealed[len(_MAGIC) : start], sealed[start:], _MAGIC + name.encode()))
        except InvalidTag:
            raise ValueError from None

    def _check_key(self, key_file: Path) -> None:
        # With another key every entry would look damaged: that is found out before one is touched.
        check = self._folder / _KEY_CHECK
        if not check.exists():
            _write(check, self._sealed(b"", _KEY_CHECK))
        try:
            self._opened(check.read_bytes(), _KEY_CHECK)
        except ValueError:
            raise InvalidInputError(
                f"{key_file}: expected the key that {self._folder} was begun with, got another one; name that, or"
                " another folder"
            ) from None

    def _check_room(self, size: int) -> None:
        max_entries, max_bytes = self._bounds
        kept = [_size(path) for path in (*_entries(self._folder), *_entries(self._aside))]
        if len(kept) >= max_entries or sum(kept) + size > max_bytes:
            raise QueueFullError(
                f"spool: expected at most {max_entries} entries and {max_bytes} bytes, got more; send what waits"
                " (biometrik station forward), and look after what was set aside"
            )

    def _next_name(self) -> str:
        # Also where the clock was set back, later is after earlier.
        newest = max((int(path.name.partition("-")[0]) for path in _entries(self._folder)), default=0)
        return f"{max(time.time_ns(), newest + 1):023d}-{secrets.token_hex(4)}{_SUFFIX}"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _entries(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.glob(f"*{_SUFFIX}") if path.name.partition("-")[0].isdecimal() and path.is_file()
    )


def _kept(path: Path, why: str = "") -> Kept:
    nanoseconds = int(path.name.partition("-")[0])
    since = datetime.fromtimestamp(min(nanoseconds / 1e9, 253_402_300_799), UTC)  # the last second of the year 9999
    return Kept(path.name, since, _size(path), why)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # another program had its answer meanwhile
        return 0


def _reason(path: Path) -> str:
    try:
        return path.with_suffix(_WHY).read_text("utf-8", errors="replace")[:500] or "unknown"
    except OSError:
        return "unknown"


def _write(path: Path, data: bytes) -> None:
    # Whole or not at all, and on the disk when this returns.
    part = path.with_name(f"{path.name}{_PART}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailableError(f"spool: expected a disk that can be written, got {error.strerror}") from error


def _key(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            text = stream.read(2 * _KEY_BYTES + 2).strip()
    except OSError as error:
        raise InvalidInputError(
            f"{file}: expected a readable key, got {error.strerror}; make one: (umask 077; openssl rand -hex 32 > FILE)"
        ) from None
    if mode & 0o077:
        raise InvalidInputError(f"{file}: expected a key that only its owner may read, got mode {mode:04o}; chmod 600")
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise InvalidInputError(f"{file}: expected {2 * _KEY_BYTES} hexadecimal digits, got something else")
    return key


def _cipher(key: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise PluginNotFoundError(
            "spool: expected the package cryptography, got none; pip install 'biometrik[spool]'"
        ) from error
    return AESGCM(key)
