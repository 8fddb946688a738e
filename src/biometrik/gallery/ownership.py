"""One owner for a database file: a lock beside it that names its holder and dies with it."""

import fcntl
import os
import socket
import threading
import weakref
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from biometrik.errors import DatabaseLockedError, StoreUnavailableError

_guard: Final = threading.Lock()  # no fork in the middle of taking or giving back a lock
_held: Final[weakref.WeakSet["Ownership"]] = weakref.WeakSet()


class Ownership:
    """The right to open a database, until :meth:`release` or the end of the process (SIGKILL too).

    It is a ``flock`` on ``<database>.lock``, whose text says who holds it. It excludes other processes and a second
    opener in the same process. The file stays when the lock is given back. A forked child gives its copy back at
    once, so that a child does not keep a dead parent's database locked.

    Parameters
    ----------
    database : Path
        The file to own; need not exist, its folder must.

    Raises
    ------
    DatabaseLockedError
        Somebody owns it; the message names process, host and since when.
    StoreUnavailableError
        The lock file cannot be written.
    """

    def __init__(self, database: Path) -> None:
        path = database.with_name(database.name + ".lock")
        with _guard:
            try:
                self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise StoreUnavailableError(
                    f"database {database}: its lock {path.name} cannot be written ({error.strerror});"
                    " give this user write access to the folder"
                ) from error
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _sign(self._descriptor)
            except BlockingIOError:
                holder = _holder(self._descriptor)
                os.close(self._descriptor)
                raise DatabaseLockedError(
                    f"database {database}: expected to be its only user, but it is open in {holder};"
                    " close it there, or send the request there"
                ) from None
            except OSError as error:
                os.close(self._descriptor)
                raise StoreUnavailableError(f"database {database}: cannot be locked ({error.strerror})") from error
            _held.add(self)

    def release(self) -> None:
        """Give the database back. Twice is fine."""
        with _guard:
            if self in _held:
                _held.discard(self)
                # Closing would not do while a program just started by this process has yet to close its copy.
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
                os.close(self._descriptor)


def _sign(descriptor: int) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()} since {since}".encode(), 0)


def _holder(descriptor: int) -> str:
    # A holder that has the lock and has not signed yet is named vaguely, which is better than waiting for it.
    return os.pread(descriptor, 512, 0).decode("utf-8", errors="replace").strip() or "another process"


def _forget_in_child() -> None:
    for ownership in list(_held):
        os.close(ownership._descriptor)
    _held.clear()
    _guard.release()


os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_forget_in_child)
