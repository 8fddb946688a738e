"""A start from a snapshot finds what a start from the store finds; what is wrong with a file is named, never served."""

import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from biometrik.errors import StoreDamagedError, StoreUnavailableError
from biometrik.features import Features
from biometrik.gallery import filling
from biometrik.gallery import snapshot as module
from biometrik.gallery.gallery import Gallery
from biometrik.gallery.index import INDEXES
from biometrik.gallery.prints import Comparator, PrintIndex
from biometrik.gallery.protection import NoProtection
from biometrik.gallery.roster import PAGE, Page
from biometrik.gallery.snapshot import Block, Snapshot
from biometrik.gallery.stores.sqlite import SqliteStore
from biometrik.types import FACE, EncounterStatus, Modality, SearchCoverage, Template

D = 8
CONTRACT = "test@1"


class _Office:
    # A gallery in a file, its snapshot, and how often a template was made into features.

    def __init__(self, folder: Path) -> None:
        self.path = folder / "office.db"
        self.file = folder / "office.db.index"
        self.made = 0

    def open(self, contract: str = CONTRACT) -> Gallery:
        def features_of(people: list[list[Template]]) -> list[Features]:
            self.made += len(people)
            return [Features(np.frombuffer(own[0].payload, "<f4") if own else None) for own in people]

        def no_matcher() -> Comparator:
            raise AssertionError("nobody shows a print")

        store = SqliteStore.open(self.path, check=not self.file.exists())
        try:
            return Gallery(
                store,
                INDEXES.load("faiss-flat")(D),
                PrintIndex(no_matcher, 0),
                owns=lambda template: template.model_contract_id == contract,
                features_of=features_of,  # type: ignore[arg-type]
                snapshot=Snapshot(self.file, NoProtection(), lambda _: contract),
            )
        except BaseException:
            store.close()
            raise

    def log_of_a_start(self, caplog: pytest.LogCaptureFixture) -> str:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            self.open().close()
        return caplog.text


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Office:
    monkeypatch.setattr(filling, "WORTH_A_SNAPSHOT", 1)
    return _Office(tmp_path)


def _vector(seed: int) -> bytes:
    vector = np.random.default_rng(seed).standard_normal(D).astype("<f4")
    return bytes(vector.tobytes())


def _enroll(gallery: Gallery, subject_id: str, seed: int, galleries: tuple[str, ...] = ("default",)) -> str:
    template = Template(Modality.FACE, CONTRACT, _vector(seed))
    return gallery.enroll(subject_id, [template], galleries=galleries).encounter_id


def _found(gallery: Gallery) -> tuple[list[tuple[str, str, tuple[str, ...], float]], SearchCoverage]:
    probe = Features(np.frombuffer(_vector(0), "<f4"))
    result = gallery.search(probe, 1000, fuse=lambda similar, _: similar[FACE].astype(np.float64))
    hits = [(h.subject_id, h.encounter_id, h.galleries, h.compared[FACE].similarity) for h in result.hits]
    return hits, result.coverage


def _as_from_the_store(office: _Office, gallery: Gallery) -> None:
    # What is found is what a gallery finds that read every template.
    found = _found(gallery)
    gallery.close()
    office.file.unlink()
    again = office.open()
    assert _found(again) == found
    again.close()


def _filled(office: _Office) -> Gallery:
    gallery = office.open()
    gallery.create_gallery("watch")
    for seed in range(30):
        _enroll(gallery, f"A-{seed // 2}", seed, ("default", "watch") if seed % 3 else ("default",))
    return gallery


def test_a_start_reads_no_template(office: _Office) -> None:
    gallery = _filled(office)
    found = _found(gallery)
    gallery.close()
    office.made = 0
    gallery = office.open()
    assert office.made == 0
    assert _found(gallery) == found
    _enroll(gallery, "A-3", 77)
    gallery.erase("A-4")
    _as_from_the_store(office, gallery)


def test_what_came_after_it_is_read_from_the_log(office: _Office) -> None:
    gallery = _filled(office)
    encounters = [e.encounter_id for s in gallery.subjects() for e in s.encounters]
    gallery.set_encounter_status(encounters[5], EncounterStatus.INACTIVE)
    gallery.keep_snapshot()
    kept = office.file.read_bytes()
    gallery.set_encounter_status(encounters[5], EncounterStatus.ACTIVE)
    gallery.set_encounter_status(encounters[6], EncounterStatus.INACTIVE)
    gallery.set_encounter_galleries(encounters[7], [])
    gallery.set_encounter_galleries(encounters[8], ["watch"])
    gallery.erase("A-1")
    _enroll(gallery, "A-1", 100)
    for seed in range(101, 104):
        _enroll(gallery, f"B-{seed}", seed, ("watch",))
    gallery.erase("B-102")
    gallery.delete_gallery("watch")
    gallery.create_gallery("watch")
    _enroll(gallery, "C", 105, ("watch",))
    gallery.create_gallery("other")
    gallery.close()
    office.file.write_bytes(kept)  # as after a crash before anything more was kept
    office.made = 0
    gallery = office.open()
    assert 0 < office.made < 15
    assert "A-1" in {subject_id for subject_id, *_ in _found(gallery)[0]}
    _as_from_the_store(office, gallery)


@pytest.mark.parametrize("inactive", [False, True])
def test_what_is_erased_is_not_in_the_file(office: _Office, inactive: bool) -> None:
    gallery = _filled(office)
    gallery.keep_snapshot()
    if inactive:  # not searchable any more, but in the file
        (encounter, _) = gallery.subject("A-7").encounters
        gallery.set_encounter_status(encounter.encounter_id, EncounterStatus.INACTIVE)
    before = office.file.read_bytes()
    own = [_vector(14), _vector(15), b"\x03A-7"]
    assert all(secret in before for secret in own)
    gallery.erase("A-7")
    after = office.file.read_bytes()
    assert not any(secret in after for secret in own)
    assert _vector(13) in after
    office.path.with_suffix(".copy").write_bytes(after)
    gallery.close()
    office.file.write_bytes(after)
    _as_from_the_store(office, office.open())


def test_an_erasure_cut_off_by_a_crash_is_made_at_start(office: _Office) -> None:
    gallery = _filled(office)
    gallery.keep_snapshot()
    kept = office.file.read_bytes()
    gallery.erase("A-7")
    gallery.close()
    office.file.write_bytes(kept)
    gallery = office.open()
    assert _vector(14) not in office.file.read_bytes()
    _as_from_the_store(office, gallery)


def test_an_erasure_that_the_file_refuses_removes_it(office: _Office, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = _filled(office)
    gallery.keep_snapshot()
    with monkeypatch.context() as patch:

        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        patch.setattr(os, "pwrite", full)
        gallery.erase("A-7")
    assert not office.file.exists()
    _enroll(gallery, "Z", 200)
    gallery.close()
    assert office.file.exists()


def test_an_erasure_while_one_is_written_is_in_neither(office: _Office) -> None:
    gallery = _filled(office)
    gallery.keep_snapshot()
    whole = gallery._searchable.block
    seen: list[Block] = []

    def block(page: int) -> Block:
        # The last page is asked for when all others are written; here there is one, and the next is empty.
        seen.append(whole(page))
        return seen[-1]

    gallery._searchable.block = block  # type: ignore[method-assign]
    close = gallery._snapshot._close  # type: ignore[union-attr]

    def erasing(file: int, end: int, origin: module.Origin) -> int:
        gallery._snapshot._lock.release()  # type: ignore[union-attr]
        gallery.erase("A-7")
        _enroll(gallery, "late", 300)
        gallery._snapshot._lock.acquire()  # type: ignore[union-attr]
        return close(file, end, origin)

    gallery._snapshot._close = erasing  # type: ignore[method-assign, union-attr]
    gallery.keep_snapshot()
    assert seen
    assert _vector(14) in seen[0].vectors.tobytes()
    content = office.file.read_bytes()
    assert _vector(14) not in content
    assert _vector(300) not in content
    gallery._snapshot._close = close  # type: ignore[method-assign, union-attr]
    gallery.close()
    office.file.write_bytes(content)
    _as_from_the_store(office, office.open())


def _flip(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [_flip(0), _flip(60), _flip(-3), _flip(-40), lambda data: data[:-1], lambda data: data[:10], lambda _: b""],
)
def test_a_damaged_file_is_named_and_not_served(
    office: _Office, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    gallery = _filled(office)
    found = _found(gallery)
    gallery.close()
    office.file.write_bytes(damage(office.file.read_bytes()))
    caplog.clear()
    gallery = office.open()
    assert "it is damaged" in caplog.text
    assert _found(gallery) == found
    gallery.close()
    assert office.log_of_a_start(caplog) == ""


@pytest.mark.parametrize(
    "wrong",
    [
        lambda block: replace(block, page=replace(block.page, texts=block.page.texts[:-1])),
        lambda block: replace(block, kinds=block.kinds[:-1]),
        lambda block: replace(block, vectors=block.vectors * np.float32(np.inf)),
        lambda block: replace(block, vectors=block.vectors[:, 1:]),
        lambda block: replace(block, page=replace(block.page, numbers=block.page.numbers[::-1])),
    ],
)
def test_a_block_that_cannot_be_is_not_served(
    office: _Office, wrong: Callable[[Block], Block], caplog: pytest.LogCaptureFixture
) -> None:
    gallery = _filled(office)
    found = _found(gallery)
    whole = gallery._searchable.block
    gallery._searchable.block = lambda page: wrong(whole(page))  # type: ignore[method-assign]
    gallery.close()
    gallery = office.open()
    assert "it is damaged" in caplog.text
    assert _found(gallery) == found
    gallery.close()


def test_a_foreign_or_old_file_is_named(office: _Office, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _filled(office).close()
    kept = office.file.read_bytes()
    gallery = office.open("test@2")
    assert "other models" in caplog.text
    assert _found(gallery)[0] == []
    gallery.close()
    assert not office.file.exists()  # of nobody
    (tmp_path / "other").mkdir()
    other = _Office(tmp_path / "other")
    _filled(other).close()
    other.file.write_bytes(kept)
    assert "another database" in other.log_of_a_start(caplog)


def test_few_encounters_are_not_worth_one(tmp_path: Path) -> None:
    office = _Office(tmp_path)
    gallery = _filled(office)
    gallery.close()
    gallery.close()
    assert not office.file.exists()


def test_one_that_cannot_be_written_leaves_the_old_one(
    office: _Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gallery = _filled(office)
    gallery.keep_snapshot()
    kept = office.file.read_bytes()
    _enroll(gallery, "Z", 200)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreUnavailableError, match="free space"):
            gallery.keep_snapshot()
        gallery.close()
    assert "the next start takes longer" in caplog.text
    assert office.file.read_bytes() == kept
    assert [path.name for path in office.file.parent.iterdir() if path.name.endswith(".new")] == []
    _as_from_the_store(office, office.open())


def test_what_a_killed_process_left_is_removed(office: _Office) -> None:
    draft = office.file.with_name("office.db.index.new")
    draft.write_bytes(_vector(1))
    office.open().close()
    assert not draft.exists()


def test_damage_that_is_found_later_ends_the_service(office: _Office, caplog: pytest.LogCaptureFixture) -> None:
    _filled(office).close()
    with closing(sqlite3.connect(office.path)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'encounters_of_subject'"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    content = bytearray(office.path.read_bytes())
    at = content.index(b"A-7", (page - 1) * size, page * size)
    content[at + 2] += 1  # an index of the store no longer fits its table
    office.path.write_bytes(content)
    gallery = office.open()
    for thread in threading.enumerate():
        if thread.name == "biometrik-check":
            thread.join()
    assert "integrity check" in caplog.text
    with pytest.raises(StoreDamagedError):
        gallery._store.last_event()
    with pytest.raises(StoreDamagedError):
        _found(gallery)
    gallery.close()


def test_blocks_of_several_pages_come_back(rng: np.random.Generator) -> None:
    gallery_numbers = np.array([PAGE, PAGE + 5, 2 * PAGE - 1])
    page = Page(
        gallery_numbers, np.array([0, 1, 0], dtype=np.uint32), np.array([0, 4, 8], dtype=np.uint32), b"\x01A\x01e" * 3
    )
    vectors = rng.standard_normal((2, D)).astype(np.float32)
    block = Block(page, [(("default",), 1 << 11), ((), 1)], gallery_numbers[[0, 2]], vectors)
    data = block.to_bytes()
    again = Block.from_bytes(data)
    assert again.to_bytes() == data
    assert again.without(gallery_numbers[:1]).page.texts == b"\x01A\x01e" * 2
    for bad in (data[:-1], data[:30], b"", data + b"x", json.dumps({}).encode()):
        with pytest.raises((ValueError, LookupError)):
            Block.from_bytes(bad)
