"""Vectors in memory and on disk against an array; what a damaged, full or missing disk does."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biometrik.errors import StoreDamagedError, StoreUnavailableError
from biometrik.gallery import vector_rows
from biometrik.gallery.vector_rows import DiskRows, MemoryRows, VectorRows

D = 5


@pytest.fixture(params=["memory", "disk"])
def rows(request: pytest.FixtureRequest, tmp_path: Path) -> VectorRows:
    return MemoryRows(D) if request.param == "memory" else DiskRows(D, tmp_path)


def test_any_rows_come_back(rows: VectorRows, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_rows, "BLOCK", 16)
    model = rng.standard_normal((100, D)).astype(np.float32)
    for start, stop in ((0, 1), (1, 40), (40, 41), (41, 100)):
        rows.write(start, model[start:stop])
    model[30:50] = rng.standard_normal((20, D))
    rows.write(30, model[30:50])
    for count in (1, 2, 30, 100):
        slots = np.sort(rng.permutation(100)[:count]).astype(np.int64)
        assert rows.read(slots).dtype == np.float32
        assert np.array_equal(rows.read(slots), model[slots])


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.sets(st.integers(0, 199), min_size=1))
def test_both_read_the_same(tmp_path_factory: pytest.TempPathFactory, chosen: set[int]) -> None:
    vectors = np.random.default_rng(1).standard_normal((200, D)).astype(np.float32)
    memory, disk = MemoryRows(D), DiskRows(D, tmp_path_factory.getbasetemp())
    memory.write(0, vectors)
    disk.write(0, vectors)
    slots = np.array(sorted(chosen), dtype=np.int64)
    assert np.array_equal(memory.read(slots), disk.read(slots))


def test_the_file_has_no_name_and_what_was_erased_is_not_in_it(tmp_path: Path, rng: np.random.Generator) -> None:
    rows = DiskRows(D, tmp_path)
    vectors = rng.standard_normal((3, D)).astype(np.float32)
    rows.write(0, vectors)
    rows.erase(1)
    assert list(tmp_path.iterdir()) == []
    content = os.pread(rows._file, 1 << 20, 0)
    assert vectors[0].tobytes() in content
    assert vectors[1].tobytes() not in content
    with pytest.raises(StoreDamagedError):
        rows.read(np.array([1]))


@pytest.mark.parametrize("at", [0, 7, 4 * D, 4 * D + 3])
def test_a_changed_bit_is_named(tmp_path: Path, rng: np.random.Generator, at: int) -> None:
    rows = DiskRows(D, tmp_path)
    rows.write(0, rng.standard_normal((3, D)).astype(np.float32))
    at += rows._row.itemsize
    (byte,) = os.pread(rows._file, 1, at)
    os.pwrite(rows._file, bytes((byte ^ 4,)), at)
    with pytest.raises(StoreDamagedError, match="check the disk"):
        rows.read(np.array([0, 1]))
    rows.read(np.array([0, 2]))


def test_a_file_cut_short_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    rows = DiskRows(D, tmp_path)
    rows.write(0, rng.standard_normal((3, D)).astype(np.float32))
    os.ftruncate(rows._file, 3 * rows._row.itemsize - 1)
    for slots in ([0, 1, 2], [0, 2], [7]):
        with pytest.raises(StoreDamagedError):
            rows.read(np.array(slots))


def test_a_full_disk_and_a_missing_folder_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreUnavailableError, match="nowhere"):
        DiskRows(D, tmp_path / "nowhere")
    rows = DiskRows(D, tmp_path)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreUnavailableError, match="free space"):
        rows.write(0, np.zeros((1, D), dtype=np.float32))


def test_room_is_taken_ahead_and_its_lack_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = DiskRows(D, tmp_path)
    size = rows._row.itemsize
    rows.make_room(1)
    assert os.fstat(rows._file).st_size == 4096 * size
    assert os.fstat(rows._file).st_blocks * 512 >= 4096 * size  # given by the disk, not only promised

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "posix_fallocate", full)
        rows.make_room(4096)
        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match="free space"):
                rows.make_room(4097)
    rows.make_room(4097)
    assert os.fstat(rows._file).st_size == 8192 * size
    MemoryRows(D).make_room(1)


def test_a_write_in_parts_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    rows = DiskRows(D, tmp_path)
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: whole(file, data[:7], at))
    vectors = rng.standard_normal((3, D)).astype(np.float32)
    rows.write(0, vectors)
    assert np.array_equal(rows.read(np.arange(3)), vectors)
