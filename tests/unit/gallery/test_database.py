"""Opening, checking and sharing a SQLite file."""

import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from biometrik.errors import EngineClosedError, StoreDamagedError, StoreUnavailableError
from biometrik.gallery.database import Database, Schema

_SCRIPT = """\
CREATE TABLE notes (note TEXT NOT NULL);
CREATE TRIGGER kept BEFORE DELETE ON notes
    BEGIN SELECT RAISE(ABORT, 'kept'); END;
"""


def _fill(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO notes VALUES ('first')")


SCHEMA = Schema(3, _SCRIPT, _fill)


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
    with database.writing() as connection:
        settings = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "user_version")
        }
        connection.execute("INSERT INTO notes VALUES ('second')")
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


def _note(note: str) -> Callable[[sqlite3.Connection], None]:
    def write(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO notes VALUES (?)", (note,))

    return write


def test_an_older_file_takes_the_steps_that_it_lacks(path: Path) -> None:
    Database(path, SCHEMA).close()
    for _ in range(2):  # the second time, none
        database = Database(path, Schema(5, _SCRIPT, _fill, (_note("to 3"), _note("to 4"), _note("to 5"))))
        assert _notes(database) == ["first", "to 4", "to 5"]
        with database.writing() as connection:
            assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
            assert connection.execute("PRAGMA user_version").fetchone() == (5,)
        database.close()


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
    with database.writing() as connection:
        connection.execute("INSERT INTO people VALUES ('A-0192')")
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
    with database.writing() as connection:
        connection.execute("INSERT INTO notes VALUES ('second')")
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(_notes, database).result(timeout=5) == ["first"]
    assert _notes(database) == ["first", "second"]
    database.close()


def test_a_reader_sees_one_state_throughout_and_cannot_write(path: Path) -> None:
    database = Database(path, SCHEMA)
    with database.reading() as reader:
        assert reader.execute("SELECT count(*) FROM notes").fetchone() == (1,)
        with database.writing() as writer:
            writer.execute("INSERT INTO notes VALUES ('second')")
        assert reader.execute("SELECT count(*) FROM notes").fetchone() == (1,)
    with pytest.raises(StoreUnavailableError, match="readonly"), database.reading() as reader:
        reader.execute("INSERT INTO notes VALUES ('third')")
    assert _notes(database) == ["first", "second"]
    database.close()


def test_an_error_rolls_back(path: Path) -> None:
    database = Database(path, SCHEMA)

    def interrupted() -> None:
        with database.writing() as connection:
            connection.execute("INSERT INTO notes VALUES ('second')")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert _notes(database) == ["first"]
    database.close()


def test_a_violated_constraint_is_damage(path: Path) -> None:
    database = Database(path, SCHEMA)
    with pytest.raises(StoreDamagedError, match="NOT NULL"), database.writing() as connection:
        connection.execute("INSERT INTO notes VALUES (NULL)")
    database.close()


def test_text_that_is_not_utf8_is_damage(path: Path) -> None:
    database = Database(path, SCHEMA)
    with database.writing() as connection:
        connection.execute("INSERT INTO notes VALUES (CAST(x'ff41' AS TEXT))")
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
    for call in (database.reading, database.writing):
        with pytest.raises(EngineClosedError), call():
            pass
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
    with database.writing() as connection:
        connection.execute("INSERT INTO notes VALUES ('second')")
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
