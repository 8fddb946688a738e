"""A SQLite file that one process owns: opening and checking it, one writer, several readers, typed errors."""

import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from biometrik.errors import (
    EngineClosedError,
    EngineStateError,
    StoreDamagedError,
    StoreUnavailableError,
)
from biometrik.gallery.database_file import (
    RESTORE,
    Schema,
    check_integrity,
    check_origin,
    sync_file,
    typed,
    write_schema,
)
from biometrik.gallery.group_commit import GroupCommit
from biometrik.gallery.ownership import Ownership

_log: Final = logging.getLogger(__name__)

I = TypeVar("I")  # noqa: E741
T = TypeVar("T")

_READERS: Final = 4
#: How long another connection (a backup, an administrator's shell) may hold the file before a call gives up, seconds.
_PATIENCE_S: Final = 10.0
#: Pages of a copy, 4 KiB each, after which it is synced. A commit's sync waits for that of the copy: for a gigabyte at
#: once 100 ms, for four megabytes up to 20, for one up to 4.
_COPIED_PAGES: Final = 256
#: Pages in the log from which on a commit moves them into the file: SQLite's own default.
_LOG_PAGES: Final = 1000
#: Pages that the commit after a copy may find in the log and has to move, and how often less is tried for.
_LEFT_PAGES: Final = 100
_MOST_PASSES: Final = 10


class _Write(Generic[I, T]):
    # What a thread wants written, and how it went: an answer, an error of its own, or an error that others share.

    __slots__ = ("answer", "error", "item", "then", "together", "work")

    def __init__(
        self,
        item: I,
        work: Callable[[sqlite3.Connection, Sequence[I]], Sequence[T]],
        then: Callable[[Sequence[tuple[I, T]]], object],
    ) -> None:
        self.item = item
        self.work = work
        self.then = then
        self.answer: list[T] = []
        self.error: Exception | None = None
        self.together: Exception | None = None

    def outcome(self, path: Path) -> T:
        if self.error is not None:
            raise self.error
        if self.together is not None:  # a copy, because several threads raise it, each with its own traceback
            raise type(self.together)(*self.together.args) from self.together
        if not self.answer:
            raise StoreUnavailableError(f"database {path}: interrupted, and nothing was written; repeat the request")
        return self.answer[0]


def _follow(group: Sequence[_Write[Any, Any]]) -> None:
    for then, alike in groupby((write for write in group if write.answer), key=attrgetter("then")):
        writes = list(alike)
        try:
            then([(write.item, write.answer[0]) for write in writes])
        except Exception as error:
            if len(writes) == 1:
                writes[0].error = error
            for write in writes[1:] and writes:
                write.together = error


class Database:
    """An open SQLite file in WAL mode; thread-safe.

    A write is on disk when it returns (``synchronous=FULL``); writes of several threads share a sync. Readers see the
    last commit and wait for no writer.
    Deleted content is overwritten with zeros (``secure_delete``), but for copies that SQLite leaves where it moves a
    row away: rows whose bytes must be gone are never moved (ADR 20). A new file appears whole or not at all, with mode
    0600. The file is checked in full when it is opened, or by :meth:`check` later; one of an older version is brought
    to the present one when it is opened.

    Parameters
    ----------
    path : Path
        The file; created if it is not there. Its folder must exist.
    schema : Schema
        What it holds.
    check : bool
        Check a file of the present version in full now, not later.

    Raises
    ------
    DatabaseLockedError
        Another process, or another Database of this one, owns it.
    StoreDamagedError
        The file is not a database, fails SQLite's integrity check, or lost its main file.
    StoreUnavailableError
        It cannot be read or written, is another application's, or a version wrote it that is newer, or too old.
    """

    def __init__(self, path: Path, schema: Schema, *, check: bool = True) -> None:
        self.path = Path(os.path.realpath(path))  # two names of one file must find the same lock
        if not self.path.parent.is_dir():
            raise StoreUnavailableError(f"database {self.path}: expected an existing folder; create it first")
        self._pid = os.getpid()
        self._closed = False
        self._schema = schema
        self._unchecked = not check
        self._checking = threading.Lock()
        self._checker: sqlite3.Connection | None = None  # at work, to be interrupted when the file is closed
        self._damage: StoreDamagedError | None = None
        self._writes = GroupCommit(self._commit, _follow)
        self._copying = threading.Lock()  # taken before the others
        self._readers: queue.SimpleQueue[sqlite3.Connection | None] = queue.SimpleQueue()
        self._ownership = Ownership(self.path)
        try:
            with self._translated():
                if not self.path.exists():
                    self._create(schema)
                connections = [self._opened(schema)]
                try:
                    for _ in range(_READERS):
                        connections.append(self._connect(self.path))
                        connections[-1].execute("PRAGMA query_only=ON")
                except BaseException:
                    for connection in connections:
                        connection.close()
                    raise
        except BaseException:
            self._ownership.release()
            raise
        self._writer, *readers = connections
        for reader in readers:
            self._readers.put(reader)

    def write(self, work: Callable[[sqlite3.Connection], T], then: Callable[[T], object] = lambda _: None) -> T:
        """Do some work in a transaction, and return its answer once that is on disk.

        Writes of several threads go into one transaction, one after another; one that raises is undone alone.

        Parameters
        ----------
        work : callable
            Writes, by the connection that it is given. It may run in another thread that is writing.
        then : callable
            Given the answer when it is on disk and before this method returns; for all writes in the order of their
            commits, one at a time. What it raises, this method raises.

        Raises
        ------
        StoreUnavailableError
            The disk is full, read-only or gone; nothing was written.
        """
        return self.write_with_others(
            None, lambda connection, _: [work(connection)], lambda written: then(written[0][1])
        )

    def write_with_others(
        self,
        item: I,
        work: Callable[[sqlite3.Connection, Sequence[I]], Sequence[T]],
        then: Callable[[Sequence[tuple[I, T]]], object],
    ) -> T:
        """Do as :meth:`write`, at once for all that come one after another in a group with the same work.

        Where that raises, it is undone, and done for each item alone.

        Parameters
        ----------
        item : object
            What this thread wants written.
        work : callable
            Writes a sequence of items, and returns the answer of each.
        then : callable
            Given those items of which the same follows, in the order of their commits, each with its answer. What it
            raises, the method raises for each of them.

        Raises
        ------
        StoreUnavailableError
            As :meth:`write`.
        """
        self._refuse_elsewhere()
        write = _Write(item, work, then)
        self._writes.submit(write)
        return write.outcome(self.path)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Wait for the writes under way, with all that follows them, and let none begin meanwhile."""
        self._refuse_elsewhere()
        with self._writes.alone():
            yield

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that sees one state of the database throughout."""
        self._refuse_elsewhere()
        reader = self._readers.get()
        try:
            if reader is None:
                raise EngineClosedError("database: closed")
            self._refuse_closed()
            with self._translated():
                reader.execute("BEGIN")
                try:
                    yield reader
                finally:
                    with suppress(sqlite3.Error):
                        reader.execute("ROLLBACK")
        finally:
            self._readers.put(reader)

    def check(self) -> None:
        """Check the file in full where opening it did not; ends early where it is closed meanwhile.

        Raises
        ------
        StoreDamagedError
            It fails its integrity check. From then on every method but :meth:`close` raises this.
        """
        self._refuse_elsewhere()
        with self._checking:
            if self._damage is not None:
                raise self._damage
            if self._closed or not self._unchecked:
                return
            with self._translated():
                self._checker = self._connect(self.path)
                try:
                    self._checker.execute("PRAGMA query_only=ON")
                    check_integrity(self._checker, self.path, self._schema)
                except StoreDamagedError as error:
                    self._damage = error
                    raise
                except sqlite3.Error as error:
                    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:  # by closing
                        return
                    found = typed(self.path, error)
                    if isinstance(found, StoreDamagedError):
                        self._damage = found
                    raise found from error
                finally:
                    self._checker.close()
                    self._checker = None
            self._unchecked = False

    def scrub(self) -> None:
        """Move the write-ahead log into the file and empty it, so that it holds no bytes of what was deleted.

        Raises
        ------
        StoreUnavailableError
            The disk failed, or another program kept on reading. The next call, :meth:`close`, and the next opening
            try again.
        """
        self._refuse_elsewhere()
        with self._copying, self._writes.alone(), self._translated():  # a copy that is made reads the log
            self._refuse_closed()
            self._truncate_log(self._writer)

    def copy(self, draft: Path) -> None:
        """Write the last commit into a new file, complete without a log and on disk; writes go on, scrubbing waits.

        Raises
        ------
        StoreUnavailableError
            The file cannot be written.
        """
        self._refuse_elsewhere()
        with self._copying, self._log_left_to_this_thread() as source:
            try:
                descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                try:
                    with closing(sqlite3.connect(draft, isolation_level=None)) as copy:
                        copy.execute("PRAGMA synchronous=OFF")  # it is synced here
                        source.execute("BEGIN")
                        source.execute("SELECT 1 FROM sqlite_master").fetchone()  # from now on it sees one state
                        source.backup(copy, pages=_COPIED_PAGES, progress=lambda *_: os.fdatasync(descriptor))
                        source.execute("ROLLBACK")
                        copy.execute("PRAGMA journal_mode=DELETE").fetchall()
                finally:
                    os.close(descriptor)  # after SQLite's, whose locks on the file it takes along
                sync_file(draft)
            except sqlite3.Error as error:
                raise typed(draft, error) from error
            except OSError as error:
                raise StoreUnavailableError(f"database {draft}: {error.strerror}") from error

    def close(self) -> None:
        """Wait for calls in flight, close the file and give up its ownership. Closing twice is fine."""
        self._refuse_elsewhere()
        with self._copying, self._writes.alone():
            if self._closed:
                return
            self._closed = True
            self._stop_checking()
            for _ in range(_READERS):
                reader = self._readers.get()
                if reader is not None:
                    reader.close()
            for _ in range(_READERS):
                self._readers.put(None)
            try:
                with self._translated():
                    self._truncate_log(self._writer)
            finally:
                with suppress(sqlite3.Error):
                    self._writer.close()
                self._ownership.release()

    def _stop_checking(self) -> None:
        # Until it has stopped: a check may be between two statements, which an interruption does not end.
        while not self._checking.acquire(timeout=0.01):
            checker = self._checker
            if checker is not None:
                with suppress(sqlite3.Error):
                    checker.interrupt()
        self._checking.release()

    # --- opening -------------------------------------------------------------------------------------------------

    def _create(self, schema: Schema) -> None:
        # Under another name first: a file of this name is complete, and an empty one is damage.
        log = self._beside("-wal")
        if log.exists():
            raise StoreDamagedError(
                f"database {self.path}: the file is gone, but its log {log.name} is there; {RESTORE}, or move the log"
            )
        draft = self._beside(".new")
        try:
            self._beside(".new-journal").unlink(missing_ok=True)  # else it would be rolled into the new draft
            draft.unlink(missing_ok=True)
            os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            connection = self._connect(draft)
            try:
                write_schema(connection, schema)
            finally:
                connection.close()
            draft.rename(self.path)
            sync_file(self.path.parent)
        except (OSError, sqlite3.Error):
            for leftover in (draft, self._beside(".new-journal")):
                with suppress(OSError):
                    leftover.unlink(missing_ok=True)
            raise

    def _opened(self, schema: Schema) -> sqlite3.Connection:
        if self.path.stat().st_size == 0:
            raise StoreDamagedError(f"database {self.path}: the file is empty; {RESTORE}, or remove it to start anew")
        connection = self._connect(self.path)
        try:
            version = check_origin(connection, self.path, schema)
            if connection.execute("PRAGMA journal_mode=WAL").fetchone() != ("wal",):
                raise StoreUnavailableError(f"database {self.path}: its file system has no write-ahead log; move it")
            if version < schema.version:
                self._migrate(connection, schema, version)
                self._unchecked = False
            elif not self._unchecked:
                check_integrity(connection, self.path, schema)
            self._truncate_log(connection)  # a crash may have left bytes of what was erased
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite3.Connection, schema: Schema, version: int) -> None:
        _log.warning(
            "database %s: is brought from schema version %d to %d; a million encounters take about half a minute",
            self.path,
            version,
            schema.version,
        )
        connection.execute("PRAGMA foreign_keys=OFF").fetchall()  # no effect within a transaction
        connection.execute("BEGIN IMMEDIATE")
        try:
            for migrate in schema.migrations[version - schema.oldest :]:
                try:
                    migrate(connection)
                except (StoreDamagedError, LookupError, TypeError, ValueError) as error:
                    raise StoreDamagedError(
                        f"database {self.path}: not what schema version {version} wrote; {RESTORE}"
                    ) from error
            check_integrity(connection, self.path, schema)
            connection.execute(f"PRAGMA user_version={schema.version}")
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        connection.execute("PRAGMA foreign_keys=ON").fetchall()

    # --- within --------------------------------------------------------------------------------------------------

    def _commit(self, group: Sequence[_Write[Any, Any]]) -> None:
        committed: list[sqlite3.Cursor] = []
        try:
            with self._translated():
                self._refuse_closed()
                if self._writer.in_transaction:  # an earlier rollback failed, too
                    self._writer.execute("ROLLBACK")
                self._writer.execute("BEGIN IMMEDIATE")
                for _, alike in groupby(group, key=attrgetter("work")):
                    self._attempt(list(alike))
                # One step for the interpreter, so that an interruption is known to come before or after.
                committed.extend(map(self._writer.execute, ("COMMIT",)))
        except BaseException as error:
            if not committed:
                self._undo(group, error)
            if not isinstance(error, Exception):
                raise

    def _attempt(self, writes: Sequence[_Write[Any, Any]]) -> None:
        failed = False
        self._writer.execute("SAVEPOINT write")
        try:
            answers = writes[0].work(self._writer, [write.item for write in writes])
        except Exception as error:
            if not self._writer.in_transaction:
                raise  # the disk failed, and SQLite undid the whole transaction
            self._writer.execute("ROLLBACK TO write")
            failed = True
            if len(writes) == 1:
                writes[0].error = typed(self.path, error) if isinstance(error, sqlite3.Error) else error
        else:
            for write, answer in zip(writes, answers, strict=True):
                write.answer.append(answer)
        self._writer.execute("RELEASE write")
        if failed and len(writes) > 1:  # one of them is to blame; it must not fail the others
            for write in writes:
                self._attempt([write])

    def _undo(self, group: Sequence[_Write[Any, Any]], error: BaseException) -> None:
        for write in group:
            write.answer.clear()
            write.together = error if isinstance(error, Exception) else None
        if not self._closed and self._writer.in_transaction:
            with suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")

    def _connect(self, path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(
            path, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        for setting in ("synchronous=FULL", "foreign_keys=ON", "secure_delete=ON", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {setting}").fetchall()
        return connection

    @contextmanager
    def _log_left_to_this_thread(self) -> Iterator[sqlite3.Connection]:
        # Gives a connection to read one state with. Meanwhile nothing that is written can leave the log, and whoever
        # committed next would move all of it into the file: 260 MB held a write up for 300 ms. So this thread does.
        with self._translated():
            self._move_log_from(0)
            with closing(self._connect(self.path)) as connection:
                try:
                    yield connection
                finally:
                    try:
                        if connection.in_transaction:
                            connection.execute("ROLLBACK")
                        self._move_log(connection)
                    finally:
                        self._move_log_from(_LOG_PAGES)

    def _move_log_from(self, pages: int) -> None:
        # How many pages in the log make a commit move them into the file; with 0 none does.
        with self._writes.alone():
            self._refuse_closed()
            self._writer.execute(f"PRAGMA wal_autocheckpoint={pages}").fetchall()

    def _move_log(self, connection: sqlite3.Connection) -> None:
        # Commits go on meanwhile: what they add while a pass is under way is left to the next, each time less.
        for _ in range(_MOST_PASSES):
            _, logged, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if logged - moved < _LEFT_PAGES:
                break

    def _truncate_log(self, connection: sqlite3.Connection) -> None:
        # Waits for readers that began before the last commit. SQLite's own waiting sleeps up to 100 ms at a time.
        deadline = time.monotonic() + _PATIENCE_S
        connection.execute("PRAGMA busy_timeout=0").fetchall()
        try:
            while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() > deadline:
                    raise self._log_is_held()
                time.sleep(0.002)
        finally:
            connection.execute(f"PRAGMA busy_timeout={round(1000 * _PATIENCE_S)}").fetchall()

    def _log_is_held(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"database {self.path}: its log could not be emptied and may hold bytes of what was erased;"
            " another program is reading the file: end it, the next erasure or closing tries again"
        )

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise EngineClosedError("database: closed")
        if self._damage is not None:
            raise self._damage

    def _refuse_elsewhere(self) -> None:
        if os.getpid() != self._pid:
            raise EngineStateError("database: opened by the parent of this process; open it again here")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise typed(self.path, error) from error
        except OSError as error:
            raise StoreUnavailableError(f"database {self.path}: {error.strerror}") from error
