"""What is kept is on disk, whole, unreadable, in order and bounded; what is damaged is named and in nobody's way."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from biometrik.errors import InvalidInputError, QueueFullError, StoreUnavailableError
from biometrik.v1 import enrollment_service_pb2 as pb
from biometrik_station import spool as spool_module
from biometrik_station.spool import DamagedEntryError, Spool

KEY = "5f" * 32


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "spool.key"
    file.touch(0o600)
    file.write_text(f"{KEY}\n")
    return file


@pytest.fixture
def spool(tmp_path: Path, key: Path) -> Spool:
    return Spool(tmp_path / "spool", key)


def request(subject_id: str) -> pb.EnrollRequest:
    made = pb.EnrollRequest(subject_id=subject_id)
    made.context.transaction_id = f"t-{subject_id}"
    made.samples.add().sample.data = b"pixels"
    return made


def test_entries_come_back_in_order_from_another_program(spool: Spool, tmp_path: Path, key: Path) -> None:
    names = [spool.keep(request(f"A-{i}")) for i in range(12)]
    again = Spool(tmp_path / "spool", key)
    assert [kept.name for kept in again.waiting()] == names
    assert [again.read(name) for name in names] == [request(f"A-{i}") for i in range(12)]


def test_the_disk_tells_nothing_and_is_the_owners(spool: Spool, tmp_path: Path) -> None:
    name = spool.keep(request("A-0192"))
    file = tmp_path / "spool" / name
    held = file.read_bytes()
    assert b"A-0192" not in held
    assert b"pixels" not in held
    assert file.stat().st_mode & 0o077 == 0
    assert file.parent.stat().st_mode & 0o077 == 0


def test_what_another_program_removes_meanwhile_is_nobodys_fault(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = spool_module._entries
    monkeypatch.setattr(spool_module, "_entries", lambda folder: [*listed(folder), folder / "1-sent.entry"])
    name = spool.keep(request("A"))
    assert [(kept.name, kept.size_bytes > 0) for kept in spool.waiting()] == [(name, True), ("1-sent.entry", False)]


def test_later_is_after_earlier_though_the_clock_was_set_back(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    first = spool.keep(request("A"))
    monkeypatch.setattr(time, "time_ns", lambda: 5)
    second = spool.keep(request("B"))
    assert [kept.name for kept in spool.waiting()] == [first, second]


@pytest.mark.parametrize("at", [0, 9, 25, -1], ids=["magic", "nonce", "text", "tag"])
def test_one_changed_byte_is_found_and_set_aside(spool: Spool, tmp_path: Path, at: int) -> None:
    bad, good = spool.keep(request("A")), spool.keep(request("B"))
    file = tmp_path / "spool" / bad
    held = bytearray(file.read_bytes())
    held[at] ^= 1
    file.write_bytes(held)
    with pytest.raises(DamagedEntryError, match=bad):
        spool.read(bad)
    assert [kept.name for kept in spool.waiting()] == [good]
    assert [(kept.name, kept.why) for kept in spool.aside()] == [(bad, "damaged")]


def test_an_entry_under_another_name_is_damaged(spool: Spool, tmp_path: Path) -> None:
    name = spool.keep(request("A"))
    other = name.replace("-", "-0")
    (tmp_path / "spool" / name).rename(tmp_path / "spool" / other)
    with pytest.raises(DamagedEntryError):
        spool.read(other)


@pytest.mark.parametrize("length", [0, 7, 20, 35])
def test_a_file_that_ends_early_is_damaged(spool: Spool, tmp_path: Path, length: int) -> None:
    name = spool.keep(request("A"))
    os.truncate(tmp_path / "spool" / name, length)
    with pytest.raises(DamagedEntryError):
        spool.read(name)


def test_bounds_hold_for_number_and_bytes_and_count_what_was_set_aside(tmp_path: Path, key: Path) -> None:
    few = Spool(tmp_path / "few", key, max_entries=2)
    few.set_aside(few.keep(request("A")), "refused")
    few.keep(request("B"))
    with pytest.raises(QueueFullError, match="at most 2 entries"):
        few.keep(request("C"))
    small = Spool(tmp_path / "small", key, max_bytes=100)
    small.keep(request("A"))
    with pytest.raises(QueueFullError, match="100 bytes"):
        small.keep(request("B"))


def test_a_full_disk_keeps_nothing_and_says_so(spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreUnavailableError, match="No space left"):
            spool.keep(request("A"))
    assert spool.waiting() == []
    assert not list((tmp_path / "spool").glob("*.part"))
    assert spool.keep(request("A"))


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [(KEY, 0o640, "chmod 600"), (KEY[:-2], 0o600, "64 hexadecimal digits"), ("z" * 64, 0o600, "64 hexadecimal")],
)
def test_without_a_proper_key_nothing_is_kept(tmp_path: Path, text: str, mode: int, words: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(InvalidInputError, match=words):
        Spool(tmp_path / "spool", file)
    with pytest.raises(InvalidInputError, match="openssl rand"):
        Spool(tmp_path / "spool", tmp_path / "nothing")
    assert not (tmp_path / "spool").exists()


def test_another_key_is_refused_before_an_entry_is_touched(spool: Spool, tmp_path: Path, key: Path) -> None:
    name = spool.keep(request("A"))
    key.write_text("00" * 32)
    with pytest.raises(InvalidInputError, match="was begun with"):
        Spool(tmp_path / "spool", key)
    key.write_text(KEY)
    assert Spool(tmp_path / "spool", key).read(name) == request("A")


def test_what_cannot_be_repeated_is_not_kept(spool: Spool) -> None:
    with pytest.raises(InvalidInputError, match="transaction id"):
        spool.keep(pb.EnrollRequest(subject_id="A"))
    uploaded = request("A")
    uploaded.samples[0].sample.upload_id = "u-1"
    with pytest.raises(InvalidInputError, match="expires"):
        spool.keep(uploaded)


_KEEPS = """
import sys
from pathlib import Path
from biometrik.v1 import enrollment_service_pb2 as pb
from biometrik_station import spool as spool_module
from biometrik_station.spool import Spool
spool = Spool(Path(sys.argv[1]), Path(sys.argv[2]))
for i in range(100_000):
    made = pb.EnrollRequest(subject_id=f"A-{i}")
    made.context.transaction_id = f"t-{i}"
    made.samples.add().sample.data = bytes(50_000)
    print(spool.keep(made), flush=True)
"""


@pytest.mark.parametrize("after", [1, 7, 20])
def test_killed_at_any_point_it_has_all_that_it_said_it_kept(tmp_path: Path, key: Path, after: int) -> None:
    folder = tmp_path / "spool"
    program = subprocess.Popen([sys.executable, "-c", _KEEPS, str(folder), str(key)], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    said = [program.stdout.readline().strip() for _ in range(after)]
    time.sleep(after / 4000)  # somewhere within the next
    program.send_signal(signal.SIGKILL)
    said += [line.strip() for line in program.stdout if line.endswith("\n")]
    program.stdout.close()
    program.wait()
    spool = Spool(folder, key)
    kept = [row.name for row in spool.waiting()]
    assert kept[: len(said)] == said
    assert len(kept) <= len(said) + 1  # written, and not yet said
    assert [found.subject_id for name in kept if (found := spool.read(name))] == [f"A-{i}" for i in range(len(kept))]
    assert not list(folder.rglob("*.part"))
