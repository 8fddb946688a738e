"""The gallery under SIGKILL and on full disks: what it acknowledged is there, and nothing else is half there."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from biometrik.features import Features
from biometrik.gallery.gallery import Gallery
from biometrik.gallery.index import INDEXES
from biometrik.gallery.prints import Comparator, PrintIndex
from biometrik.gallery.protection import NoProtection
from biometrik.gallery.records import EventKind
from biometrik.gallery.snapshot import Snapshot
from biometrik.gallery.store import STORES
from biometrik.types import FACE, EncounterStatus, Modality, Template, Trait
from tests.soak.service import Failure

Run = Callable[[int, int, int], Sequence[Failure]]

DIMENSION: Final = 64
GALLERIES: Final = ("default", "watch")
_WORKERS: Final = 6
#: Longest time between the first acknowledgement and the kill, seconds: some tens of commits.
_LONGEST_S: Final = 0.3
#: Rounds over one database, before a new one.
_ROUNDS_A_FILE: Final = 8
_PATIENCE_S: Final = 120.0


def rows_of(subject_id: str) -> NDArray[np.float32]:
    """Return the two vectors of a subject, (2, D) float32, which follow from its id."""
    seed = [int(part) for part in subject_id.split("-")]
    return np.random.default_rng(seed).standard_normal((2, DIMENSION)).astype(np.float32)


def templates_of(subject_id: str) -> list[Template]:
    """Return the templates of a subject."""
    return [Template(Modality.FACE, "test@1", row.astype("<f4").tobytes()) for row in rows_of(subject_id)]


def snapshot_of(path: Path) -> Snapshot:
    """Return the snapshot of a gallery of such subjects."""
    return Snapshot(path.with_name(path.name + ".index"), NoProtection(), lambda _: "test")


def open_gallery(path: Path, snapshot: Snapshot | None = None) -> Gallery:
    """Open a gallery of such subjects."""

    def features(people: Sequence[Sequence[Template]]) -> list[Features]:
        rows = [np.stack([np.frombuffer(t.payload, dtype="<f4") for t in templates]) for templates in people]
        return [Features(own.mean(axis=0)) for own in rows]

    def no_matcher() -> Comparator:
        raise AssertionError("nobody shows a print")

    store = STORES.load("sqlite").open(path)
    try:
        index, prints = INDEXES.load("faiss-flat")(DIMENSION), PrintIndex(no_matcher, 0)
        return Gallery(store, index, prints, owns=lambda _: True, features_of=features, snapshot=snapshot)
    except BaseException:
        store.close()
        raise


@dataclass(frozen=True, slots=True)
class State:
    """What is stored of a subject; ``None`` in its place where there is no such subject.

    Parameters
    ----------
    encounter_id : str
        "" where it is not known, because the enrolment was not answered.
    status : str
        Of :class:`biometrik.types.EncounterStatus`.
    galleries : tuple of str
        Sorted.
    """

    encounter_id: str
    status: str = "ACTIVE"
    galleries: tuple[str, ...] = GALLERIES


@dataclass(slots=True)
class Acknowledged:
    """What callers were told, and what they asked for and were not told.

    Parameters
    ----------
    known : dict of str to State or None
        By subject, after the last answer.
    asked : dict of str to State or None
        By subject, what the unanswered request makes of it.
    answers : int
        How many there were.
    """

    known: dict[str, State | None] = field(default_factory=dict)
    asked: dict[str, State | None] = field(default_factory=dict)
    answers: int = 0

    def take(self, line: Sequence[str]) -> None:
        """Take in a line of a worker: what it is about to do, or that it is done, or that it was refused."""
        word, subject_id, act, argument = line
        before = self.known.get(subject_id)
        after: State | None = None
        if act == "enroll":
            after = State(argument)
        elif act == "status" and before:
            after = State(before.encounter_id, argument, before.galleries)
        elif act == "galleries" and before:
            after = State(before.encounter_id, before.status, tuple(argument.split()))
        self.known.setdefault(subject_id, None)
        if word == "asks":
            self.asked[subject_id] = after
            return
        self.asked.pop(subject_id, None)
        if word == "done":
            self.known[subject_id] = after
            self.answers += 1


def wrong(gallery: Gallery, path: Path, told: Acknowledged) -> Iterator[str]:
    """Yield what a gallery holds otherwise than it acknowledged; afterwards ``told`` says what there is."""
    found: dict[str, State] = {}
    after = ""
    while page := gallery.subjects(after=after, limit=1000):
        after = page[-1].subject_id
        for subject in page:
            if len(subject.encounters) != 1:
                yield f"{subject.subject_id}: expected one encounter, got {len(subject.encounters)}"
                return
            (one,) = subject.encounters
            found[subject.subject_id] = State(one.encounter_id, one.status.value, one.galleries)
    for subject_id in found.keys() | told.known.keys():
        state = found.get(subject_id)
        may_be = [told.known.get(subject_id), *([told.asked[subject_id]] if subject_id in told.asked else [])]
        if not any(_fits(state, expected) for expected in may_be):
            yield f"{subject_id}: expected one of {may_be}, got {state}"
        told.known[subject_id] = state
    told.asked.clear()
    yield from _wrong_in_the_log(gallery, found)
    raw = b"".join(file.read_bytes() for file in path.parent.iterdir() if file.name.startswith(path.name))
    for subject_id, state in told.known.items():
        rows = rows_of(subject_id)
        if state is None:
            if any(row.astype("<f4").tobytes() in raw for row in (*rows, rows.mean(axis=0))):
                yield f"{subject_id}: its bytes are still in a file"
            continue
        references = gallery.references(subject_id)
        if [r.templates for r in references] != ([tuple(templates_of(subject_id))] if state.status == "ACTIVE" else []):
            yield f"{subject_id}: other templates than were enrolled"
        hits = gallery.search(Features(rows.mean(axis=0)), 1, fuse=_by_similarity).hits
        findable = state.status == "ACTIVE" and bool(state.galleries)
        if (bool(hits) and hits[0].subject_id == subject_id) != findable:
            yield f"{subject_id}: findable {not findable}, expected {findable}"


def _by_similarity(similar: Mapping[Trait, NDArray[np.float32]], _: object) -> NDArray[np.float64]:
    return similar[FACE].astype(np.float64)


def _fits(state: State | None, expected: State | None) -> bool:
    if state is None or expected is None:
        return state is expected
    known = expected.encounter_id in ("", state.encounter_id)
    return known and (state.status, state.galleries) == (expected.status, expected.galleries)


def _wrong_in_the_log(gallery: Gallery, found: dict[str, State]) -> Iterator[str]:
    sequence, living = 0, set[str]()
    while page := gallery.events(after=sequence, limit=1000):
        if [event.sequence for event in page] != list(range(sequence + 1, sequence + 1 + len(page))):
            yield "events: a gap"
        sequence = page[-1].sequence
        for event in page:
            if event.kind is EventKind.ENROLLED:
                living.add(event.subject_id)
            elif event.kind is EventKind.ERASED:
                living.discard(event.subject_id)
    if living != found.keys():
        yield "events: they tell of other subjects than there are"
    searched = gallery.search(Features(np.ones(DIMENSION, dtype=np.float32)), 1, fuse=_by_similarity)
    if searched.coverage.gallery_version != sequence:
        yield "index: not at the last event"


# --- what writes -------------------------------------------------------------------------------------------------


def write_for_ever(
    gallery: Gallery, worker: int, seed: int, tell: Callable[..., object], until: Callable[[], bool]
) -> None:
    """Enrol, update and erase until told to stop; each request is told of before and after."""
    rng = random.Random(f"{seed}:{worker}")
    own: dict[str, str] = {}
    number = 0
    while not until():
        act = rng.choices(("enroll", "status", "galleries", "erase"), (5, 2, 2, 2))[0] if own else "enroll"
        subject_id = f"{seed}-{worker}-{number}" if act == "enroll" else rng.choice(list(own))
        argument = {
            "enroll": "",
            "status": rng.choice(("ACTIVE", "INACTIVE")),
            "galleries": " ".join(rng.choice(((), ("default",), ("watch",), GALLERIES))),
            "erase": "",
        }[act]
        tell("asks", subject_id, act, argument)
        if act == "enroll":
            number += 1
            made = gallery.enroll(subject_id, templates_of(subject_id), galleries=GALLERIES)
            own[subject_id] = argument = made.encounter_id
        elif act == "status":
            gallery.set_encounter_status(own[subject_id], EncounterStatus(argument))
        elif act == "galleries":
            gallery.set_encounter_galleries(own[subject_id], argument.split())
        else:
            gallery.erase(subject_id)
            del own[subject_id]
        tell("done", subject_id, act, argument)


#: What a round kills. Lines are shorter than PIPE_BUF, so that they come whole, and outlive the process.
_CHILD: Final = """
import json, os, sys, threading
from pathlib import Path
from tests.soak.store import open_gallery, snapshot_of, write_for_ever

path, keeps = Path(sys.argv[1]), sys.argv[4] == "keeps"
gallery = open_gallery(path, snapshot_of(path) if keeps else None)

def keep_for_ever():
    while True:
        gallery.keep_snapshot()

def tell(*fields):
    os.write(1, (json.dumps(fields) + "\\n").encode())

for worker in range(int(sys.argv[3])):
    threading.Thread(target=write_for_ever, args=(gallery, worker, int(sys.argv[2]), tell, lambda: False)).start()
if keeps:
    threading.Thread(target=keep_for_ever).start()
"""


def killed(path: Path, seed: int, delay_s: float, *, keeps: bool = False) -> list[list[str]]:
    """Let a process write, and keep snapshots; kill it ``delay_s`` after its first line, and return all lines."""
    arguments = [sys.executable, "-c", _CHILD, str(path), str(seed), str(_WORKERS), "keeps" if keeps else ""]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        if not first:
            raise RuntimeError(f"the writer ended by itself with {child.wait()}")
        time.sleep(delay_s)
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
        child.wait(_PATIENCE_S)
    return [json.loads(line) for line in (first + rest).splitlines()]


class Office:
    """A database that processes write to and are killed at.

    Parameters
    ----------
    folder : Path
        Where it is; anything in it is removed.
    keeps : bool
        The processes keep snapshots all the time, and start from them.
    """

    def __init__(self, folder: Path, *, keeps: bool = False) -> None:
        self._folder = folder
        self._keeps = keeps
        self._rounds = 0
        self.told = Acknowledged()
        self.found: Counter[str] = Counter()  # snapshots, after how many kills
        self._open_anew()

    def _open_anew(self) -> None:
        for leftover in self._folder.iterdir():
            leftover.unlink()
        self.path = self._folder / "office.db"
        gallery = open_gallery(self.path)
        gallery.create_gallery("watch")
        gallery.close()
        self.told = Acknowledged(answers=self.told.answers)

    def kill(self, index: int, rng: random.Random) -> list[Failure]:
        """Kill a writer at a random moment, and return what is wrong afterwards."""
        if self._rounds and self._rounds % _ROUNDS_A_FILE == 0:
            self._open_anew()
        self._rounds += 1
        for line in killed(self.path, index, rng.uniform(0.0, _LONGEST_S), keeps=self._keeps):
            self.told.take(line)
        self.found["half written"] += self.path.with_name(self.path.name + ".index.new").exists()
        kept = snapshot_of(self.path) if self._keeps else None
        gallery = open_gallery(self.path, kept)
        self.found["started from"] += kept is not None and kept.event > 0
        try:
            return [Failure(index, "after SIGKILL", what) for what in wrong(gallery, self.path, self.told)]
        finally:
            gallery.close()


class _Killing:
    # Kills writers in rounds, and counts what becomes of snapshots.

    def __init__(self, office: Office) -> None:
        self._office = office

    def __call__(self, count: int, seed: int, start: int) -> Sequence[Failure]:
        return [
            failure
            for index in range(start, start + count)
            for failure in self._office.kill(index, random.Random(f"{seed}:{index}"))
        ]

    @property
    def figures(self) -> Mapping[str, Any]:
        return {"answers": self._office.told.answers, "snapshots": dict(self._office.found)}


@contextmanager
def killing(*, keeps: bool = False) -> Iterator[Run]:
    """Yield what kills writers in rounds; they keep snapshots where that is asked for."""
    with TemporaryDirectory() as folder:
        yield _Killing(Office(Path(folder), keeps=keeps))
