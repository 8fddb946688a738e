"""A SQLite file as such: what it must hold, how that is checked, and what its errors mean."""

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from biometrik.errors import GalleryError, StoreDamagedError, StoreUnavailableError

#: "BMTK" in the file's header, so that ``file`` and we know whose it is.
_APPLICATION_ID: Final = int.from_bytes(b"BMTK", "big")
_DAMAGE_CODES: Final = frozenset(
    {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_CONSTRAINT}
)
#: The remedy for damage.
RESTORE: Final = "restore a backup"


@dataclass(frozen=True, slots=True)
class Schema:
    """What a file of ours holds.

    Parameters
    ----------
    version : int
        Written into the file; a newer one is refused.
    script : str
        SQL that creates tables, indexes and triggers.
    fill : callable
        Writes the rows that exist from the start; called within the transaction that runs the script.
    migrations : tuple of callable
        Each makes of a file of one version one of the next; the last makes one of this version. All that a file needs
        run in one transaction. Foreign keys and definitions are checked after the last, not meanwhile.
    """

    version: int
    script: str
    fill: Callable[[sqlite3.Connection], None]
    migrations: tuple[Callable[[sqlite3.Connection], None], ...] = ()

    @property
    def oldest(self) -> int:
        """The oldest version that can still be opened."""
        return self.version - len(self.migrations)


def typed(path: Path, error: sqlite3.Error) -> GalleryError:
    """Return the error of the tree that says what SQLite found, with a remedy."""
    # The code's low byte is the kind. Errors of the Python module have none: text that is not UTF-8, mostly.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in _DAMAGE_CODES:
        return StoreDamagedError(f"database {path}: damaged ({error}); {RESTORE}")
    remedy = {
        sqlite3.SQLITE_FULL: "free space on the disk",
        sqlite3.SQLITE_IOERR: "free space on the disk, or look at the system's log for what is wrong with it",
        sqlite3.SQLITE_READONLY: "give this user write access to the file and its folder",
        sqlite3.SQLITE_CANTOPEN: "give this user write access to the file and its folder",
        sqlite3.SQLITE_BUSY: "end the other program that uses the file",
    }.get(code, "look at the system's log")
    return StoreUnavailableError(f"database {path}: {error}; {remedy}")


def check_origin(connection: sqlite3.Connection, path: Path, schema: Schema) -> int:
    """Return a file's version; raises StoreUnavailableError where it is not ours, newer, or too old."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION_ID:
        raise StoreUnavailableError(
            f"database {path}: expected a biometrik database, got another application's; name another file"
        )
    if version > schema.version:
        raise StoreUnavailableError(
            f"database {path}: expected schema version {schema.version} or older, got {version};"
            " a newer biometrik wrote it, install that"
        )
    if version < schema.oldest:
        raise StoreUnavailableError(
            f"database {path}: expected schema version {schema.oldest} or newer, got {version};"
            " open it once with a biometrik between that and this"
        )
    return int(version)


def check_integrity(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    """Raise StoreDamagedError where a file's structure is not what SQLite and this version wrote."""
    # The full check, not the quick one: only it finds an index entry that no longer fits its row, for which a
    # look-up would answer "not found". It takes 5.6 s per million encounters; filling the index takes longer.
    findings = connection.execute("PRAGMA integrity_check(1)").fetchall()
    if findings != [("ok",)]:
        raise StoreDamagedError(f"database {path}: fails its integrity check; {RESTORE}")
    if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
        raise StoreDamagedError(f"database {path}: holds rows that refer to nothing; {RESTORE}")
    if _definitions(connection) != _expected_definitions(schema.script):
        raise StoreDamagedError(f"database {path}: its tables are not those of version {schema.version}; {RESTORE}")


def write_schema(connection: sqlite3.Connection, schema: Schema) -> None:
    """Make a new file what a schema says, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in statements(schema.script):
        connection.execute(statement)
    schema.fill(connection)
    connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={schema.version}")
    connection.execute("COMMIT")


def statements(script: str) -> list[str]:
    """Return a script's statements, to be executed one by one: ``executescript`` would commit the transaction."""
    found, begun = [], ""
    for line in script.splitlines(keepends=True):
        begun += line
        if sqlite3.complete_statement(begun):
            found.append(begun)
            begun = ""
    return found


def _definitions(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    return connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, name"
    ).fetchall()


def _expected_definitions(script: str) -> list[tuple[str, str, str]]:
    with sqlite3.connect(":memory:") as pattern:
        for statement in statements(script):
            pattern.execute(statement)
        found = _definitions(pattern)
    pattern.close()
    return found


def sync_file(path: Path) -> None:
    """Bring a file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
