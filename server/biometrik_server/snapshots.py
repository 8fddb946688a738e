"""Copies of the database, made while the server works: one at a time, named here, the oldest removed."""

import asyncio
import hashlib
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from biometrik.engine import Engine
from biometrik.errors import (
    DatabaseLockedError,
    InvalidInputError,
    SnapshotRunningError,
    SnapshotsDisabledError,
    StoreUnavailableError,
    TransactionConflictError,
)
from biometrik.gallery.ownership import Ownership
from biometrik.gallery.records import Holdings
from biometrik.gallery.schema import SCHEMA
from biometrik.types import RequestContext
from biometrik_server.config import Snapshots

_log = logging.getLogger(__name__)

#: No dot and no separator: whatever a client sends, the copy lies in the folder and ends in ``.db``.
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
#: Names that this module gives, in the order of their times; files of other names are not touched.
_NAME: Final = re.compile(rf"\d{{8}}T\d{{6}}\.\d{{6}}Z(-{_LABEL.pattern})?\.db", re.ASCII)
#: What a copy is called until it is whole (see :mod:`biometrik.gallery.backup`), and what SQLite puts beside it.
_DRAFT: Final = re.compile(rf"{_NAME.pattern}\.new(-journal)?", re.ASCII)
#: The folder's lock is this name's: no two servers make or remove copies in it at once.
_FOLDER_OWNER: Final = "snapshots"


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy that is whole and on disk.

    Parameters
    ----------
    name : str
        Of its file in the folder.
    sha256 : str
        Of the file, hexadecimal.
    created_at : datetime
        When the copying began, UTC.
    schema_version : int
        The file's.
    held : Holdings
        What it holds.
    """

    name: str
    sha256: str
    created_at: datetime
    schema_version: int
    held: Holdings


@dataclass(frozen=True, slots=True)
class _Begun:
    # The copy that is made, or was made last, and who asked for it.
    client: str
    transaction_id: str
    label: str
    work: "asyncio.Task[Copy]"


class Copier:
    """Copies an engine's database; used on the event loop.

    Parameters
    ----------
    engine : Engine
        Whose.
    settings : Snapshots or None
        Where to; None refuses every copy.
    """

    def __init__(self, engine: Engine, settings: Snapshots | None) -> None:
        self._engine = engine
        self._settings = settings
        # Of its own, so that calls have theirs for the minutes that it may take. It does not give way by a lower
        # priority: where others take all cores it would be put off with SQLite's lock or the interpreter's in its
        # hands, for which writes would wait, and the log would grow for longer.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        self._begun: _Begun | None = None
        if settings is not None and not settings.folder.is_dir():
            _log.warning("snapshots: the folder is not there; every copy will be refused")

    async def copy(self, client: str, label: str, who: RequestContext) -> Copy:
        """Return a new copy, or for a repeat the one that the first call began.

        A copy that has begun goes on although nobody waits for it any more.

        Parameters
        ----------
        client : str
            Who asks.
        label : str
            Part of the copy's name; "" for none.
        who : RequestContext
            Its transaction id names the copy for repeats; the rest is for the event log.

        Raises
        ------
        SnapshotsDisabledError
            No folder is configured.
        InvalidInputError
            The label cannot be part of a name.
        TransactionConflictError
            The transaction id is of a copy with another label.
        SnapshotRunningError
            Another copy is being made, by this server or by another in the same folder.
        StoreUnavailableError, StoreDamagedError
            As :meth:`biometrik.Engine.snapshot`; or the folder is not there.
        """
        if self._settings is None:
            raise SnapshotsDisabledError(
                "snapshots: expected a folder in the server's configuration, got none; name it there"
            )
        if label and not _LABEL.fullmatch(label):
            raise InvalidInputError(
                "label: expected at most 32 ASCII letters, digits, - and _, the first a letter or digit, got others"
            )
        begun = self._begun
        if begun is not None and who.transaction_id and self._is_repeat(begun, client, who.transaction_id):
            if begun.label != label:
                raise TransactionConflictError("transaction_id: expected the request of its first use, got another")
            return await asyncio.shield(begun.work)
        if begun is not None and not begun.work.done():
            raise SnapshotRunningError("snapshot: another is being made; wait until it is done")
        work = asyncio.create_task(self._made(self._settings, label, who))
        work.add_done_callback(lambda done: done.cancelled() or done.exception())  # told, or nobody is there to be
        self._begun = _Begun(client, who.transaction_id, label, work)
        return await asyncio.shield(work)

    def close(self) -> None:
        """Finish the copy that is being made."""
        self._thread.shutdown(wait=True)

    @staticmethod
    def _is_repeat(begun: _Begun, client: str, transaction_id: str) -> bool:
        failed = begun.work.done() and (begun.work.cancelled() or begun.work.exception() is not None)
        return (begun.client, begun.transaction_id) == (client, transaction_id) and not failed

    async def _made(self, settings: Snapshots, label: str, who: RequestContext) -> Copy:
        # Logged here: whoever asked may be gone when it ends.
        try:
            copy = await asyncio.get_running_loop().run_in_executor(self._thread, self._make, settings, label, who)
        except Exception:
            _log.exception("snapshot failed")
            raise
        _log.info("snapshot", extra={"fields": {"name": copy.name, "octets": copy.held.octets, "sha256": copy.sha256}})
        return copy

    def _make(self, settings: Snapshots, label: str, who: RequestContext) -> Copy:
        folder = settings.folder
        if not folder.is_dir():
            raise StoreUnavailableError(
                "snapshots: expected the configured folder, got none; mount its disk or make it"
            )
        try:
            ownership = Ownership(folder / _FOLDER_OWNER)
        except DatabaseLockedError:
            raise SnapshotRunningError(
                "snapshot: another server is making one in this folder; give each its own"
            ) from None
        try:
            _remove_drafts(folder)
            created_at = datetime.now(UTC)
            name = f"{created_at:%Y%m%dT%H%M%S.%fZ}{'-' if label else ''}{label}.db"
            held = self._engine.snapshot(folder / name, context=who)
            with (folder / name).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise StoreUnavailableError(f"snapshots: {error.strerror}; see that the folder's disk works") from error
        else:
            if settings.keep:
                _remove_oldest(folder, settings.keep, name)
            return Copy(name, digest, created_at, SCHEMA.version, held)
        finally:
            ownership.release()


def _remove_drafts(folder: Path) -> None:
    # Of copies whose server was killed: biometric data that nobody would look for.
    for path in folder.iterdir():
        if _DRAFT.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _remove_oldest(folder: Path, keep: int, newest: str) -> None:
    # The one just made stays, whatever the clock said when the others were made; it is no failure where one remains.
    try:
        others = sorted(path.name for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.name != newest)
        for name in others[: max(0, len(others) - (keep - 1))]:
            (folder / name).unlink(missing_ok=True)
            _log.info("snapshot removed", extra={"fields": {"name": name}})
    except OSError as error:
        _log.warning("snapshots: an old copy could not be removed (%s); remove it", error.strerror)
