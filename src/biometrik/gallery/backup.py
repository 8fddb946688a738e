"""Copies of a database that is in use, what a file holds, and the way back.

A file gets its name only when it is complete, on disk, and was read from the first row to the last; until then it is
called ``<name>.new`` and is nobody's. Nothing that is there is ever overwritten.
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from biometrik.errors import InvalidInputError, StoreDamagedError, StoreUnavailableError
from biometrik.gallery import tables
from biometrik.gallery.database import Database
from biometrik.gallery.database_file import check_integrity, check_origin, sync_file, typed
from biometrik.gallery.ownership import Ownership
from biometrik.gallery.protection import NoProtection, Protection
from biometrik.gallery.records import Holdings, Quarantined
from biometrik.gallery.schema import SCHEMA
from biometrik.gallery.store import opened

#: Rows that are read at a time: about a millisecond. Beside calls that are served, the interpreter is given up after
#: each; else it is taken from this thread only after 5 ms, each of the many times that a write needs it.
_PAGE: Final = 100
_NAP_S: Final = 0.0001
#: Tables whose rows are read by their first column; those of encounters are read with these.
_KEYS: Final = {
    "galleries": "gallery",
    "subjects": "subject_id",
    "transactions": "transaction_id",
    "events": "sequence",
    "quarantine": "encounter",
    "free_slots": "slot",
}


def snapshot(database: Database, path: Path, protection: Protection) -> Holdings:
    """Copy a database while it is in use; see :meth:`biometrik.gallery.store.Store.snapshot`."""
    with _drafted(path) as draft:
        database.copy(draft)
        return _read(draft, protection)


def check(path: Path, protection: Protection | None = None) -> Holdings:
    """Read a database that nobody uses from the first byte to the last, changing nothing.

    Parameters
    ----------
    path : Path
        The file.
    protection : Protection, optional
        What its templates were sealed with.

    Raises
    ------
    StoreDamagedError
        The file, or a row of it, is not what was written; the message names it.
    StoreUnavailableError
        It cannot be read, is of another version, or a log beside it holds writes that it lacks.
    DatabaseLockedError
        A process has it open.
    """
    _refuse_missing(path)
    ownership = Ownership(path) if path.with_name(path.name + ".lock").exists() else None
    try:
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise StoreUnavailableError(
                f"database {path}: its log {log.name} holds writes that it lacks, because its process was killed;"
                " open it once, then check it"
            )
        return _read(path, protection or NoProtection())
    finally:
        if ownership is not None:
            ownership.release()


def restore(copy: Path, path: Path, protection: Protection | None = None) -> Holdings:
    """Put a copy in the place of a database that is gone; the copy stays as it is.

    Parameters
    ----------
    copy : Path
        What :func:`snapshot` made; of an older version it is brought to the present one on the way.
    path : Path
        The database that it becomes; must not be there.
    protection : Protection, optional
        What its templates were sealed with.

    Raises
    ------
    InvalidInputError
        There is a database of this name, or its log.
    StoreDamagedError, StoreUnavailableError, DatabaseLockedError
        As :func:`check`, of the copy; or it cannot be written. Nothing is restored then.
    """
    _refuse_missing(copy)
    log = path.with_name(path.name + "-wal")
    if log.exists():
        raise InvalidInputError(f"database {path}: expected no file of this name, got its log {log.name}; move it away")
    with _drafted(path) as draft:
        leftovers = [draft.with_name(draft.name + suffix) for suffix in (".lock", "-wal", "-shm", "-journal")]
        try:
            os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            shutil.copyfile(copy, draft)
            Database(draft, SCHEMA).close()
            with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode=DELETE").fetchall()
            sync_file(draft)
            return _read(draft, protection or NoProtection())
        finally:
            for leftover in leftovers:
                leftover.unlink(missing_ok=True)


def damaged(connection: sqlite3.Connection, protection: Protection) -> list[tuple[int, Quarantined]]:
    """Return the encounters that cannot be read, with their numbers.

    Raises
    ------
    StoreDamagedError
        What is damaged is no encounter's.
    """
    tables.gallery_names(connection)
    found = []
    now = datetime.now(UTC)
    for number, encounter_id, subject_id in connection.execute(
        "SELECT number, encounter_id, subject_id FROM encounters"
    ):
        try:
            for sealed in tables.sealed(connection, "number = ?", (number,)):
                opened(sealed, protection)
        except StoreDamagedError as error:
            found.append((number, Quarantined(str(encounter_id), str(subject_id), now, str(error).partition(";")[0])))
    return found


@contextmanager
def _drafted(path: Path) -> Iterator[Path]:
    # Gives a name to write under; what is there at the end gets the name that is meant.
    if path.exists():
        raise InvalidInputError(
            f"{path}: expected a name that is not taken, got a file's; name another or move it away"
        )
    draft = path.with_name(path.name + ".new")
    try:
        draft.unlink(missing_ok=True)  # of an attempt that was killed
        yield draft
        if path.exists():
            raise InvalidInputError(f"{path}: expected a name that is not taken, got a file's; name another")
        draft.rename(path)
        sync_file(path.parent)
    except sqlite3.Error as error:
        raise typed(path, error) from error
    except OSError as error:
        raise StoreUnavailableError(
            f"{path}: cannot be written ({error.strerror}); free space or name another"
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _refuse_missing(path: Path) -> None:
    if not path.is_file() or path.stat().st_size == 0:
        raise StoreUnavailableError(f"database {path}: expected a file with a database, got none; name another")


def _read(path: Path, protection: Protection) -> Holdings:
    # Every page and every row. Immutable: nobody writes it, and no file appears beside it.
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            version = check_origin(connection, path, SCHEMA)
            if version != SCHEMA.version:
                raise StoreUnavailableError(
                    f"database {path}: expected schema version {SCHEMA.version}, got {version};"
                    " restoring it, or opening it once, brings it to that"
                )
            check_integrity(connection, path, SCHEMA)
            for table, key in _KEYS.items():
                for _ in _pages(connection, table, key):
                    pass
            encounters = templates = last = 0
            while page := tables.sealed(connection, "number > ? ORDER BY number LIMIT ?", (last, _PAGE)):
                last = page[-1].number
                time.sleep(_NAP_S)
                encounters += len(page)
                templates += sum(len(opened(sealed, protection).templates) for sealed in page)
            (subjects,) = connection.execute("SELECT count(*) FROM subjects").fetchone()
            set_aside = len(tables.quarantined(connection))
            event = tables.last_event(connection)
            return Holdings(event, subjects, encounters, templates, set_aside, path.stat().st_size)
    except sqlite3.Error as error:
        raise typed(path, error) from error


def _pages(connection: sqlite3.Connection, table: str, key: str) -> Iterator[None]:
    last: object = "" if table in ("subjects", "transactions") else 0
    while page := tables.rows(connection, table, f"{key} > ? ORDER BY {key} LIMIT ?", (last, _PAGE)):
        time.sleep(_NAP_S)
        last = page[-1][0]
        yield
