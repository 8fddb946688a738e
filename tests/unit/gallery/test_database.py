"""Opening, checking and sharing a SQLite file."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from biometrik.errors import EngineClosedError, StoreDamagedError, StoreUnavailableError
from biometrik.gallery.database import Database
from biometrik.gallery.database_file import Schema

_SCRIPT = """\
CREATE TABLE notes (note TEXT NOT NULL);
CREATE TRIGGER kept BEFORE DELETE ON notes
    BEGIN SELECT RAISE(ABORT, 'kept'); END;
"""


def _fill(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO notes VALUES ('first')")


SCHEMA = Schema(3, _SCRIPT, _fill)
Then = Callable[[object], object]
Outcome = Future[object]


def _notes(database: Database) -> list[str]:
    with database.reading() as connection:
        return [note for (note,) in connection.execute("SELECT note FROM notes ORDER BY rowid")]


def _execute(path: Path, statement: str) -> None:
    shell = sqlite3.connect(path, isolation_level=None)
    shell.execute(statement)
    shell.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "office.db"


def test_a_new_file_is_filled_and_safe(path: Path) -> None:
    database = Database(path, SCHEMA)
    assert _notes(database) == ["first"]
    names = ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "user_version")
    settings = database.write(lambda writer: {n: writer.execute(f"PRAGMA {n}").fetchone()[0] for n in names})
    database.write(_note("second"))
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "secure_delete": 1,
        "user_version": 3,
    }
    database.close()
    assert path.read_bytes()[68:72] == b"BMTK"
    reopened = Database(path, SCHEMA)
    assert _notes(reopened) == ["first", "second"]
    reopened.close()


def test_a_missing_folder_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="expected an existing folder; create it first"):
        Database(tmp_path / "nowhere" / "office.db", SCHEMA)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "office.db").mkdir()
    with pytest.raises(StoreUnavailableError, match=r"office\.db"):
        Database(tmp_path / "office.db", SCHEMA)


def test_a_creation_that_fails_leaves_no_file(path: Path) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(StoreUnavailableError):
        Database(path, Schema(3, _SCRIPT, fail))
    assert [file.name for file in path.parent.iterdir()] == ["office.db.lock"]
    Database(path, SCHEMA).close()


def test_what_a_crash_left_of_a_creation_is_overwritten(path: Path) -> None:
    path.with_name("office.db.new").write_bytes(b"half a file")
    path.with_name("office.db.new-journal").write_bytes(b"half a journal")
    database = Database(path, SCHEMA)
    assert _notes(database) == ["first"]
    database.close()


def test_another_applications_file_is_refused_and_kept(path: Path) -> None:
    _execute(path, "CREATE TABLE accounts (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreUnavailableError, match="another application's; name another file"):
        Database(path, SCHEMA)
    assert path.read_bytes() == before


def test_a_newer_file_is_refused(path: Path) -> None:
    Database(path, SCHEMA).close()
    with pytest.raises(StoreUnavailableError, match="expected schema version 2 or older, got 3; a newer biometrik"):
        Database(path, Schema(2, _SCRIPT, _fill))


def _note_of_nothing(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO notes VALUES (NULL)")


def _note(note: str) -> Callable[[sqlite3.Connection], None]:
    def write(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO notes VALUES (?)", (note,))

    return write


def test_an_older_file_takes_the_steps_that_it_lacks(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Database(path, SCHEMA).close()
    for _ in range(2):  # the second time, none
        database = Database(path, Schema(5, _SCRIPT, _fill, (_note("to 3"), _note("to 4"), _note("to 5"))))
        assert _notes(database) == ["first", "to 4", "to 5"]
        assert database.write(lambda writer: writer.execute("PRAGMA foreign_keys").fetchone()) == (1,)
        assert database.write(lambda writer: writer.execute("PRAGMA user_version").fetchone()) == (5,)
        database.close()
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        f"database {path}: is brought from schema version 3 to 5"
    ]


def test_a_file_too_old_is_refused(path: Path) -> None:
    Database(path, SCHEMA).close()
    with pytest.raises(StoreUnavailableError, match="expected schema version 4 or newer, got 3; open it once with"):
        Database(path, Schema(5, _SCRIPT, _fill, (_note("to 5"),)))


def test_a_step_that_leaves_rows_that_refer_to_nothing_is_undone(path: Path) -> None:
    script = "CREATE TABLE people (id INTEGER PRIMARY KEY);\nCREATE TABLE visits (person INTEGER REFERENCES people);\n"
    Database(path, Schema(1, script, lambda c: None)).close()

    def orphan(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO visits VALUES (7)")

    with pytest.raises(StoreDamagedError, match="refer to nothing"):
        Database(path, Schema(2, script, lambda c: None, (orphan,)))
    Database(path, Schema(1, script, lambda c: None)).close()


@pytest.mark.parametrize("content", [b"", b"not a database" * 1000, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_what_is_no_database_is_named_with_a_remedy(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreDamagedError, match=r"office\.db.*restore a backup"):
        Database(path, SCHEMA)
    assert path.read_bytes() == content


def test_a_lost_main_file_is_not_replaced_by_an_empty_one(path: Path) -> None:
    path.with_name("office.db-wal").write_bytes(b"the only copy")
    with pytest.raises(StoreDamagedError, match=r"the file is gone, but its log office\.db-wal is there"):
        Database(path, SCHEMA)
    assert not path.exists()


@pytest.mark.parametrize(
    "statement", ["DROP TRIGGER kept", "CREATE TABLE more (x)", "ALTER TABLE notes ADD COLUMN more TEXT"]
)
def test_other_tables_than_ours_are_named(path: Path, statement: str) -> None:
    Database(path, SCHEMA).close()
    _execute(path, statement)
    with pytest.raises(StoreDamagedError, match="its tables are not those of version 3"):
        Database(path, SCHEMA)


def test_an_index_that_no_longer_fits_its_table_is_named(path: Path) -> None:
    schema = Schema(1, "CREATE TABLE people (id TEXT PRIMARY KEY);\n", lambda c: None)
    database = Database(path, schema)
    database.write(lambda connection: connection.execute("INSERT INTO people VALUES ('A-0192')"))
    database.close()
    data = bytearray(path.read_bytes())
    data[data.index(b"A-0192")] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(StoreDamagedError, match="fails its integrity check; restore a backup"):
        Database(path, schema)


def test_rows_that_refer_to_nothing_are_named(path: Path) -> None:
    schema = Schema(
        1,
        "CREATE TABLE people (id INTEGER PRIMARY KEY);\nCREATE TABLE visits (person INTEGER REFERENCES people);\n",
        lambda c: None,
    )
    Database(path, schema).close()
    _execute(path, "INSERT INTO visits VALUES (7)")
    with pytest.raises(StoreDamagedError, match="refer to nothing"):
        Database(path, schema)


def test_a_read_only_medium_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Permissions do not bind the superuser, under whom tests may run; an immutable open behaves as the medium does.
    Database(path, SCHEMA).close()
    connect = sqlite3.connect

    def read_only(database: Path | str, **settings: object) -> sqlite3.Connection:
        if database == ":memory:":
            return connect(database)
        return connect(f"file:{database}?immutable=1", uri=True, **settings)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(sqlite3, "connect", read_only)
    with pytest.raises(StoreUnavailableError, match=r"write access|write-ahead log"):
        Database(path, SCHEMA)


def test_readers_see_the_last_commit_and_wait_for_no_writer(path: Path) -> None:
    database = Database(path, SCHEMA)

    def write(connection: sqlite3.Connection) -> None:
        _note("second")(connection)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(_notes, database).result(timeout=5) == ["first"]

    database.write(write)
    assert _notes(database) == ["first", "second"]
    database.close()


def test_a_reader_sees_one_state_throughout_and_cannot_write(path: Path) -> None:
    database = Database(path, SCHEMA)
    with database.reading() as reader:
        assert reader.execute("SELECT count(*) FROM notes").fetchone() == (1,)
        database.write(_note("second"))
        assert reader.execute("SELECT count(*) FROM notes").fetchone() == (1,)
    with pytest.raises(StoreUnavailableError, match="readonly"), database.reading() as reader:
        reader.execute("INSERT INTO notes VALUES ('third')")
    assert _notes(database) == ["first", "second"]
    database.close()


def test_an_error_rolls_back(path: Path) -> None:
    database = Database(path, SCHEMA)

    def interrupted(connection: sqlite3.Connection) -> None:
        _note("second")(connection)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        database.write(interrupted)
    assert _notes(database) == ["first"]
    database.close()


def _grouped(database: Database, works: Sequence[Callable[[sqlite3.Connection], object]], then: Then) -> list[Outcome]:
    """Submit works so that they are committed together, in their order, and ``then`` follows each."""
    return _submitted(database, [partial(database.write, work, then) for work in works])


def _submitted(database: Database, writes: Sequence[Callable[[], object]]) -> list[Outcome]:
    """Let writes wait for a first one, so that they are committed together, in their order."""
    under_way, go_on = threading.Event(), threading.Event()

    def first(_: sqlite3.Connection) -> None:
        under_way.set()
        assert go_on.wait(30)

    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(len(writes) + 1) as pool:
        leader = pool.submit(database.write, first)
        assert under_way.wait(30)
        for waiting, write in enumerate(writes, start=1):
            outcomes.append(pool.submit(write))
            while len(database._writes._waiting) < waiting:
                time.sleep(0.001)
        go_on.set()
        leader.result(timeout=30)
    return outcomes


def test_a_group_is_one_transaction_in_which_one_fails_alone(path: Path) -> None:
    database = Database(path, SCHEMA)
    statements: list[str] = []
    database._writer.set_trace_callback(statements.append)
    followed: list[object] = []

    def refused(connection: sqlite3.Connection) -> None:
        _note("half a write")(connection)
        raise ValueError("refused")

    works = [_note("second"), refused, _note_of_nothing, _note("third"), lambda _: "nothing to write"]
    outcomes = _grouped(database, works, followed.append)
    assert _notes(database) == ["first", "second", "third"]
    assert isinstance(outcomes[1].exception(), ValueError)
    assert isinstance(outcomes[2].exception(), StoreDamagedError)
    assert [outcome.exception() for outcome in outcomes[3:]] == [None, None]
    assert followed == [None, None, "nothing to write"]  # those that were written, in their order
    assert statements.count("COMMIT") == 2  # the first writer's, and one for all others
    database.close()


def test_writes_of_the_same_work_are_done_at_once_unless_one_of_them_is_refused(path: Path) -> None:
    database = Database(path, SCHEMA)
    done: list[list[str]] = []
    followed: list[Sequence[tuple[str, int]]] = []

    def work(connection: sqlite3.Connection, texts: Sequence[str]) -> list[int]:
        done.append(list(texts))
        for text in texts:
            _note(text)(connection)
            if text == "bad":
                raise ValueError(text)
        return [len(text) for text in texts]

    def together(texts: Sequence[str]) -> list[Outcome]:
        return _submitted(
            database, [partial(database.write_with_others, text, work, followed.append) for text in texts]
        )

    assert [outcome.result() for outcome in together(["a", "bb"])] == [1, 2]
    assert (done, followed) == ([["a", "bb"]], [[("a", 1), ("bb", 2)]])
    outcomes = together(["c", "bad", "dd"])
    assert isinstance(outcomes[1].exception(), ValueError)
    assert [outcomes[0].result(), outcomes[2].result()] == [1, 2]
    assert done[1:] == [["c", "bad", "dd"], ["c"], ["bad"], ["dd"]]
    assert followed[1:] == [[("c", 1), ("dd", 2)]]
    assert _notes(database) == ["first", "a", "bb", "c", "dd"]
    database.close()


def test_what_fails_after_writes_that_it_follows_together_fails_for_each_of_their_threads(path: Path) -> None:
    database = Database(path, SCHEMA)

    def work(connection: sqlite3.Connection, texts: Sequence[str]) -> list[None]:
        connection.executemany("INSERT INTO notes VALUES (?)", [(text,) for text in texts])
        return [None] * len(texts)

    def then(_: object) -> None:
        raise MemoryError

    writes = [partial(database.write_with_others, text, work, then) for text in ("second", "third")]
    errors = [outcome.exception() for outcome in _submitted(database, [*writes, lambda: database.write(_note("4th"))])]
    assert [type(error) for error in errors] == [MemoryError, MemoryError, type(None)]
    assert errors[0] is not errors[1]  # each thread has a traceback of its own
    assert _notes(database) == ["first", "second", "third", "4th"]
    database.close()


def test_what_follows_a_write_fails_for_its_thread_alone(path: Path) -> None:
    database = Database(path, SCHEMA)
    followed: list[object] = []

    def then(answer: object) -> None:
        followed.append(answer)
        if answer == 1:
            raise MemoryError

    outcomes = _grouped(database, [lambda _, n=n: n for n in range(3)], then)  # type: ignore[misc]
    assert followed == [0, 1, 2]
    assert [type(outcome.exception()) for outcome in outcomes] == [type(None), MemoryError, type(None)]
    database.close()


def test_a_group_that_cannot_be_committed_fails_together_and_the_next_goes_on(path: Path) -> None:
    database = Database(path, SCHEMA)
    (pages,) = database._writer.execute("PRAGMA page_count").fetchone()
    database._writer.execute(f"PRAGMA max_page_count={pages}").fetchall()
    outcomes = _grouped(database, [_note("x" * 100_000), _note("y" * 100_000)], lambda _: None)
    for outcome in outcomes:
        with pytest.raises(StoreUnavailableError, match="free space"):
            outcome.result()
    assert _notes(database) == ["first"]
    database.write(_note("second"))
    assert _notes(database) == ["first", "second"]
    database.close()


def test_an_interrupted_leader_tells_the_others_that_nothing_was_written(path: Path) -> None:
    database = Database(path, SCHEMA)

    def interrupted(_: sqlite3.Connection) -> None:
        raise KeyboardInterrupt

    outcomes = _grouped(database, [_note("second"), interrupted, _note("third")], lambda _: None)
    errors = [outcome.exception() for outcome in outcomes]
    assert [type(error) for error in errors].count(KeyboardInterrupt) == 1
    assert all(isinstance(error, KeyboardInterrupt | StoreUnavailableError) for error in errors)
    assert _notes(database) == ["first"]
    database.close()


def test_an_interrupted_leader_whose_commit_is_done_does_not_take_it_from_the_others(path: Path) -> None:
    database = Database(path, SCHEMA)

    def then(answer: object) -> None:
        raise KeyboardInterrupt

    outcomes = _grouped(database, [_note("second"), _note("third")], then)
    errors = [type(outcome.exception()) for outcome in outcomes]
    assert sorted(error.__name__ for error in errors) == ["KeyboardInterrupt", "NoneType"]
    assert _notes(database) == ["first", "second", "third"]
    database.close()


def test_a_violated_constraint_is_damage(path: Path) -> None:
    database = Database(path, SCHEMA)
    with pytest.raises(StoreDamagedError, match="NOT NULL"):
        database.write(_note_of_nothing)
    database.close()


def test_text_that_is_not_utf8_is_damage(path: Path) -> None:
    database = Database(path, SCHEMA)
    database.write(lambda connection: connection.execute("INSERT INTO notes VALUES (CAST(x'ff41' AS TEXT))"))
    with pytest.raises(StoreDamagedError):
        _notes(database)
    database.close()


def test_closing_waits_for_readers_and_writers(path: Path) -> None:
    database = Database(path, SCHEMA)
    reading, go_on = threading.Event(), threading.Event()

    def read() -> int:
        with database.reading() as connection:
            reading.set()
            assert go_on.wait(30)
            return int(connection.execute("SELECT count(*) FROM notes").fetchone()[0])

    with ThreadPoolExecutor(2) as pool:
        reader = pool.submit(read)
        assert reading.wait(30)
        closing = pool.submit(database.close)
        with pytest.raises(TimeoutError):
            closing.result(timeout=0.1)
        go_on.set()
        closing.result(timeout=30)
        assert reader.result() == 1
    with pytest.raises(EngineClosedError), database.reading():
        pass
    with pytest.raises(EngineClosedError):
        database.write(_note("second"))
    with pytest.raises(EngineClosedError):
        database.scrub()


def test_more_readers_than_connections_take_turns(path: Path) -> None:
    database = Database(path, SCHEMA)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: _notes(database), range(60)))
    assert answers == [["first"]] * 60
    database.close()


def test_the_log_is_emptied_by_scrubbing_and_by_closing(path: Path) -> None:
    database = Database(path, SCHEMA)
    log = path.with_name("office.db-wal")
    database.write(_note("second"))
    assert log.stat().st_size > 0
    database.scrub()
    assert log.stat().st_size == 0
    database.close()
    assert not log.exists()


def test_a_relative_path_is_kept_when_the_process_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    database = Database(Path("office.db"), SCHEMA)
    monkeypatch.chdir(os.sep)
    assert database.path == tmp_path.resolve() / "office.db"
    database.close()
