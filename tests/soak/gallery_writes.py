"""Enrolling, changing, erasing and searching at the same time, every answer held against brute force.

An answer names the version of the gallery that it is of; the log says what was in the gallery then. So each answer has
to be, to the last bit, that of comparing with everybody who was there at its version, and its version must not be older
than what was acknowledged before the search began.
"""

import random
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import (
    EncounterNotFoundError,
    GalleryExistsError,
    GalleryNotFoundError,
    SubjectNotFoundError,
)
from biometrik.features import Features
from biometrik.gallery.gallery import Gallery
from biometrik.gallery.index import INDEXES
from biometrik.gallery.prints import PrintIndex
from biometrik.gallery.records import Event, EventKind
from biometrik.gallery.searching import Hit, SearchResult
from biometrik.gallery.store import STORES, Store
from biometrik.types import FACE, EncounterStatus, Modality, Template, Trait
from tests.unit.gallery.test_prints import Nearness, Numbers, alike

_D: Final = 12
#: Those that need no GPU.
_INDEXES: Final = ("int8-certified", "faiss-flat")
_FINGER: Final = Trait(Modality.FINGER, 2)
#: Faces and prints come from a small pool, so that there are ties; subjects too, so that they have several encounters.
_POOL: Final = 40
_SUBJECTS: Final = 60
_GALLERIES: Final = ("default", "watch", "trip")
_WRITERS: Final = 3
_SEARCHERS: Final = 3
#: Writes of each writer in a round.
_WRITES: Final = 150
_MOST: Final = 12


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that brute force does not give, or an error that nobody expects."""

    index: int
    target: str
    what: str


@dataclass(frozen=True, slots=True)
class _Asked:
    # A search: the version it must not be older than, whom it looks for, and what came back.
    since: int
    person: int
    count: int
    galleries: tuple[str, ...] | None
    excluding: str
    result: SearchResult


@dataclass(frozen=True, slots=True)
class _Encounter:
    number: int
    subject_id: str
    encounter_id: str
    person: int
    galleries: frozenset[str]
    active: bool = True


@dataclass(slots=True)
class _Office:
    # What the threads of a round share.
    gallery: Gallery
    acknowledged: int = 0  # version that has at least the writes that were acknowledged
    encounters: list[str] = field(default_factory=list)
    asked: list[_Asked] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    def acknowledge(self) -> None:
        # A write that has an event of its own; others may change nothing.
        with self.lock:
            self.acknowledged += 1


@contextmanager
def opened() -> Iterator[Callable[..., list[Failure]]]:
    """Yield what runs rounds, each with a gallery of its own, the indexes and stores in turns."""
    with ExitStack() as stack:
        # Few encounters have to do for what a million do: moving of rows, work in portions, threads.
        for name, value in (("_SPARE_LEAST", 4), ("_MOVED", 3), ("_OVERWRITTEN", 2)):
            stack.enter_context(patch(f"biometrik.gallery.indexes.int8_certified.{name}", value))
        stack.enter_context(patch("biometrik.gallery.int8_search._ROWS_PER_THREAD", 64))
        stack.enter_context(patch("biometrik.gallery.searching._FORGOTTEN", 1))
        before = sys.getswitchinterval()
        stack.callback(sys.setswitchinterval, before)
        sys.setswitchinterval(1e-5)  # seconds; threads take turns 500 times as often as usual
        yield run


def run(count: int, seed: int, start: int, writes: int = _WRITES) -> list[Failure]:
    """Do rounds; returns what failed in them.

    Parameters
    ----------
    count, seed, start : int
        How many rounds, of which seed, from which index.
    writes : int
        Of each writer in a round.
    """
    return [failure for index in range(start, start + count) for failure in _round(index, seed, writes)]


def _round(index: int, seed: int, writes: int) -> list[Failure]:
    kinds = list(product(_INDEXES, STORES.names()))
    kind, kept = kinds[index % len(kinds)]
    name = f"{kind}, {kept}"
    with TemporaryDirectory() as folder:
        return _checked(index, seed, writes, name, _gallery(kind, STORES.load(kept).open(Path(folder) / "office.db")))


def _gallery(index: str, store: Store) -> Gallery:
    return Gallery(
        store,
        INDEXES.load(index)(_D),
        PrintIndex(Nearness, 10**6),
        owns=lambda template: template.model_contract_id == "soak@1",
        features_of=lambda people: [_features_of(templates) for templates in people],
    )


def _checked(index: int, seed: int, writes: int, name: str, gallery: Gallery) -> list[Failure]:
    office = _Office(gallery)
    failures: list[Failure] = []
    try:
        gallery.create_gallery("watch")
        office.acknowledged = gallery.events(limit=1000)[-1].sequence
        with ThreadPoolExecutor(_WRITERS + _SEARCHERS) as pool:
            writers = [
                pool.submit(_write, office, random.Random(f"{seed} {index} w{n}"), writes) for n in range(_WRITERS)
            ]
            searchers = [
                pool.submit(_search_on, office, random.Random(f"{seed} {index} s{n}")) for n in range(_SEARCHERS)
            ]
            for future in writers:
                error = future.exception()
                failures += [Failure(index, name, f"writing: {error!r}")] if error else []
            office.over.set()
            for future in searchers:
                error = future.exception()
                failures += [Failure(index, name, f"searching: {error!r}")] if error else []
        failures += [Failure(index, name, what) for what in _wrong(office)]
    finally:
        gallery.close()
    return failures


# --- what the threads do -------------------------------------------------------------------------------------------


def _write(office: _Office, draw: random.Random, writes: int) -> None:
    gallery = office.gallery
    for _ in range(writes):
        subject_id, act = f"S-{draw.randrange(_SUBJECTS)}", draw.random()
        known = draw.choice(office.encounters) if office.encounters else ""
        within = draw.sample(_GALLERIES, draw.randrange(3))
        with suppress(EncounterNotFoundError, GalleryNotFoundError, GalleryExistsError, SubjectNotFoundError):
            if act < 0.5 or not known:
                person = draw.randrange(10**6)
                details = {"person": str(person), "within": ",".join(within)}
                encounter = gallery.enroll(subject_id, _templates(person), galleries=within, details=details)
                office.encounters.append(encounter.encounter_id)
                office.acknowledge()
            elif act < 0.7:
                gallery.erase(subject_id)
                office.acknowledge()
            elif act < 0.8:
                status = draw.choice([EncounterStatus.ACTIVE, EncounterStatus.INACTIVE])
                gallery.set_encounter_status(known, status, details={"made": status.name})
            elif act < 0.95:
                gallery.set_encounter_galleries(known, within, details={"within": ",".join(within)})
            elif act < 0.98:
                gallery.create_gallery("trip", details={"name": "trip"})
            else:
                gallery.delete_gallery("trip", details={"name": "trip"})


def _search_on(office: _Office, draw: random.Random) -> None:
    while not office.over.is_set():
        with office.lock:
            since = office.acknowledged
        person, count = draw.randrange(10**6), draw.randint(1, _MOST)
        galleries = None if draw.random() < 0.5 else tuple(draw.sample(_GALLERIES, draw.randint(1, 3)))
        excluding = f"S-{draw.randrange(_SUBJECTS)}" if draw.random() < 0.3 else ""
        with suppress(GalleryNotFoundError):
            result = office.gallery.search(
                _features(person), count, fuse=_fuse, galleries=galleries, excluding=excluding
            )
            office.asked.append(_Asked(since, person, count, galleries, excluding, result))


def _templates(person: int) -> list[Template]:
    # Bytes say who it is; what is shown follows from it.
    payload = person.to_bytes(8, "little")
    modalities = {0: (Modality.FACE,), 1: (Modality.FINGER,), 2: (Modality.FACE, Modality.FINGER)}[person % 3]
    return [Template(m, "soak@1", payload, 2 if m is Modality.FINGER else 0) for m in modalities]


def _features_of(templates: Sequence[Template]) -> Features:
    return _features(int.from_bytes(templates[0].payload, "little"))


def _features(person: int) -> Features:
    vector = None if person % 3 == 1 else _vector(person)
    return Features(vector, {} if person % 3 == 0 else {2: Numbers(np.array([float(person % _POOL)]))})


def _vector(person: int) -> NDArray[np.float32]:
    vector: NDArray[np.float32] = np.random.default_rng(person % _POOL).standard_normal(_D).astype(np.float32)
    return vector


def _fuse(similar: Mapping[Trait, NDArray[np.float32]], _: Any) -> NDArray[np.float64]:
    total: NDArray[np.float64] = np.nansum(np.stack(list(similar.values())), axis=0, dtype=np.float64)
    return total


# --- what they should have seen ------------------------------------------------------------------------------------


def _wrong(office: _Office) -> Iterator[str]:
    # Plays the log again, and asks brute force what was asked at each version.
    events = _events(office.gallery)
    asked: dict[int, list[_Asked]] = {}
    for search in office.asked:
        asked.setdefault(search.result.coverage.gallery_version, []).append(search)
        if search.result.coverage.gallery_version < search.since:
            yield f"version {search.result.coverage.gallery_version}, expected {search.since} or later"
    there: dict[str, _Encounter] = {}
    names = {"default"}
    for event in events:
        _replay(event, there, names)
        for search in asked.pop(event.sequence, []):
            yield from _differences(search, list(there.values()), names)
    if asked:
        yield f"versions: expected those of the log, got {sorted(asked)}"


def _events(gallery: Gallery) -> list[Event]:
    events: list[Event] = []
    while page := gallery.events(after=events[-1].sequence if events else 0, limit=1000):
        events += page
    return events


def _replay(event: Event, there: dict[str, _Encounter], names: set[str]) -> None:
    within = frozenset(name for name in event.details.get("within", "").split(",") if name)
    if event.kind is EventKind.ENROLLED:
        there[event.encounter_id] = _Encounter(
            event.sequence, event.subject_id, event.encounter_id, int(event.details["person"]), within
        )
    elif event.kind is EventKind.ERASED:
        for gone in [e for e in there.values() if e.subject_id == event.subject_id]:
            del there[gone.encounter_id]
    elif event.kind is EventKind.STATUS_CHANGED:
        there[event.encounter_id] = replace(there[event.encounter_id], active=event.details["made"] == "ACTIVE")
    elif event.kind is EventKind.GALLERIES_CHANGED:
        there[event.encounter_id] = replace(there[event.encounter_id], galleries=within)
    elif event.kind is EventKind.GALLERY_CREATED:
        names.add(event.details["gallery"])
    else:
        names.discard(event.details["gallery"])
        for key, encounter in there.items():
            there[key] = replace(encounter, galleries=encounter.galleries - {event.details["gallery"]})


def _differences(search: _Asked, there: Sequence[_Encounter], names: set[str]) -> Iterator[str]:
    probe = _features(search.person)
    chosen = names if search.galleries is None else set(search.galleries)
    searched = [e for e in there if e.active and e.galleries & chosen and e.subject_id != search.excluding]
    met = [e for e in searched if (probe.vector is not None and e.person % 3 != 1) or (probe.prints and e.person % 3)]
    coverage = search.result.coverage
    expected = (tuple(sorted(chosen)), len({e.subject_id for e in met}), len(met), True, 1.0)
    found = (coverage.galleries, coverage.subjects, coverage.compared, coverage.exact, coverage.recall_claimed)
    if found != expected:
        yield f"coverage at {coverage.gallery_version}: expected {expected}, got {found}"
    hits = _best(search.person, met, search.count) if met else []
    if [_row(hit) for hit in search.result.hits] != hits:
        yield f"hits at {coverage.gallery_version}: expected {hits}, got {[_row(hit) for hit in search.result.hits]}"


def _row(hit: Hit) -> tuple[Any, ...]:
    compared = {trait: value.similarity for trait, value in hit.compared.items()}
    return hit.subject_id, hit.encounter_id, frozenset(hit.galleries), compared, hit.encounters_compared


def _best(person: int, met: Sequence[_Encounter], count: int) -> list[tuple[Any, ...]]:
    probe = _features(person)
    similar: dict[Trait, NDArray[np.float32]] = {}
    if probe.vector is not None:
        vectors = np.stack([_vector(e.person) for e in met]).astype(np.float64)
        faces = np.einsum("nd,d->n", vectors, probe.vector.astype(np.float64)).astype(np.float32)
        faces[[e.person % 3 == 1 for e in met]] = np.nan
        similar[FACE] = faces
    if probe.prints:
        values = alike(float(person % _POOL), np.array([float(e.person % _POOL) for e in met]))
        values[[e.person % 3 == 0 for e in met]] = np.nan
        similar[_FINGER] = values
    order = np.lexsort((np.array([e.number for e in met]), -_fuse(similar, None)))
    hits: dict[str, tuple[Any, ...]] = {}
    for row in order.tolist():
        best = met[row]
        compared = {trait: float(values[row]) for trait, values in similar.items() if not np.isnan(values[row])}
        own = sum(e.subject_id == best.subject_id for e in met)
        hits.setdefault(best.subject_id, (best.subject_id, best.encounter_id, best.galleries, compared, own))
    return list(hits.values())[:count]
