"""A process that is killed while it enrols loses nothing that it acknowledged and leaves nothing half-written."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from biometrik.features import Features
from biometrik.gallery.gallery import Gallery
from biometrik.gallery.index import INDEXES
from biometrik.gallery.prints import Comparator, PrintIndex
from biometrik.gallery.records import EventKind
from biometrik.gallery.searching import SearchResult
from biometrik.gallery.store import STORES
from biometrik.types import FACE, Modality, Template

ROUNDS = 10
D = 64

#: Four threads enrol (two templates, two galleries) and erase every fifth again. Each writes a line into the pipe
#: after the call returned; lines are shorter than PIPE_BUF, so that they come whole, and outlive the process.
_CHILD = """
import json, os, sys, threading
import numpy as np
from biometrik.features import Features
from biometrik.gallery.gallery import Gallery
from biometrik.gallery.index import INDEXES
from biometrik.gallery.prints import PrintIndex
from biometrik.gallery.store import STORES
from biometrik.types import Modality, Template

path, round_number, dimension = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def features_of(people):
    rows = [np.stack([np.frombuffer(t.payload, dtype="<f4") for t in templates]) for templates in people]
    return [Features(own.mean(axis=0)) for own in rows]

gallery = Gallery(STORES.load("sqlite").open(path), INDEXES.load("faiss-flat")(dimension), PrintIndex(None, 0),
                  owns=lambda template: True, features_of=features_of)
acknowledged = sys.stdout.fileno()

def tell(*fields):
    os.write(acknowledged, (json.dumps(fields) + "\\n").encode())

def work(worker):
    number = 0
    while True:
        subject = f"{round_number}-{worker}-{number}"
        rng = np.random.default_rng([round_number, worker, number])
        rows = rng.standard_normal((2, dimension)).astype("<f4")
        templates = [Template(Modality.FACE, "test@1", row.tobytes()) for row in rows]
        encounter = gallery.enroll(subject, templates, galleries=["default", "watch"],
                                   transaction_id=f"t-{subject}", request_digest=subject)
        tell("enrolled", subject, encounter.encounter_id)
        if number % 5 == 4:
            tell("erasing", subject)
            certificate = gallery.erase(subject)
            tell("erased", subject, certificate.digest)
        number += 1

for worker in range(4):
    threading.Thread(target=work, args=(worker,)).start()
"""


def _rows(subject_id: str) -> NDArray[np.float32]:
    seed = [int(part) for part in subject_id.split("-")]
    return np.random.default_rng(seed).standard_normal((2, D)).astype(np.float32)


def _features(people: Sequence[Sequence[Template]]) -> list[Features]:
    rows = [np.stack([np.frombuffer(t.payload, dtype="<f4") for t in templates]) for templates in people]
    return [Features(own.mean(axis=0)) for own in rows]


def _no_matcher() -> Comparator:
    raise AssertionError("nobody shows a print")


def _searched(gallery: Gallery, vector: NDArray[np.float32], galleries: list[str] | None = None) -> SearchResult:
    faces = Features(vector)
    return gallery.search(faces, 1, fuse=lambda similar, _: similar[FACE].astype(np.float64), galleries=galleries)


def _open(path: Path) -> Gallery:
    store = STORES.load("sqlite").open(path)
    index, prints = INDEXES.load("faiss-flat")(D), PrintIndex(_no_matcher, 0)
    return Gallery(store, index, prints, owns=lambda _: True, features_of=_features)


def _killed(path: Path, round_number: int, delay_s: float) -> list[list[str]]:
    """Let a process enrol, kill it ``delay_s`` after its first acknowledgement, and return all of them."""
    arguments = [sys.executable, "-c", _CHILD, str(path), str(round_number), str(D)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        assert first, "the child ended before it enrolled anybody"
        time.sleep(delay_s)
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
        assert child.wait() == -signal.SIGKILL
    return [json.loads(line) for line in (first + rest).splitlines()]


@pytest.mark.slow
def test_sigkill_at_any_moment_loses_nothing_acknowledged(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "office.db"
    gallery = _open(path)
    gallery.create_gallery("watch")
    gallery.close()
    enrolled: dict[str, str] = {}
    erasing: set[str] = set()
    erased: dict[str, str] = {}
    for round_number in range(ROUNDS):
        for act, subject_id, *fields in _killed(path, round_number, float(rng.uniform(0.0, 0.25))):
            if act == "enrolled":
                enrolled[subject_id] = fields[0]
            elif act == "erasing":
                erasing.add(subject_id)
            else:
                erased[subject_id] = fields[0]
        gallery = _open(path)
        _check(gallery, path, enrolled, erasing, erased)
        gallery.close()
    assert len(enrolled) > 10 * ROUNDS
    assert erased


def _check(gallery: Gallery, path: Path, enrolled: dict[str, str], erasing: set[str], erased: dict[str, str]) -> None:
    present: dict[str, str] = {}
    after = ""
    while page := gallery.subjects(after=after, limit=1000):
        after = page[-1].subject_id
        present.update({subject.subject_id: subject.encounters[0].encounter_id for subject in page})
        assert all(len(subject.encounters) == 1 for subject in page)
    # Everything acknowledged is there; what is gone was to be erased; at most one call a thread was unanswered.
    assert {s: e for s, e in enrolled.items() if s not in erasing}.items() <= present.items()
    assert not present.keys() & erased.keys()
    unanswered = present.keys() - enrolled.keys()
    assert len(unanswered) <= 4 * ROUNDS
    assert all(present[s] == enrolled[s] for s in present.keys() & enrolled.keys())
    # Nothing is half-written, whether or not it was acknowledged: templates, galleries, event, place in the index.
    events: dict[str, list[EventKind]] = {}
    sequence = 0
    while log := gallery.events(after=sequence, limit=1000):
        assert [event.sequence for event in log] == list(range(sequence + 1, sequence + 1 + len(log)))
        sequence = log[-1].sequence
        for event in log:
            if event.subject_id:
                events.setdefault(event.subject_id, []).append(event.kind)
            if event.kind is EventKind.ERASED and event.subject_id in erased:
                assert event.details["digest"] == erased[event.subject_id]
    assert {s for s, kinds in events.items() if kinds == [EventKind.ENROLLED]} == present.keys()
    assert all(kinds[1:] in ([], [EventKind.ERASED]) for kinds in events.values())
    raw = b"".join(file.read_bytes() for file in path.parent.iterdir())
    for subject_id, encounter_id in present.items():
        rows = _rows(subject_id)
        (reference,) = gallery.references(subject_id)
        assert [t.payload for t in reference.templates] == [row.tobytes() for row in rows]
        assert reference.galleries == ("default", "watch")
        (hit,) = _searched(gallery, rows.mean(axis=0), galleries=["watch"]).hits
        assert (hit.subject_id, hit.encounter_id) == (subject_id, encounter_id)
    gone = events.keys() - present.keys()
    assert erased.keys() <= gone
    for subject_id in gone:  # also where it was killed between the commit and emptying the log
        assert not any(row.tobytes() in raw for row in _rows(subject_id))
    # A client that was not answered asks again, and gets the encounter that is there.
    for subject_id in sorted(unanswered)[:4]:
        templates = [Template(Modality.FACE, "test@1", row.tobytes()) for row in _rows(subject_id)]
        repeated = gallery.enroll(
            subject_id,
            templates,
            galleries=["default", "watch"],
            transaction_id=f"t-{subject_id}",
            request_digest=subject_id,
        )
        assert repeated.encounter_id == present[subject_id]
    version = _searched(gallery, np.ones(D, dtype=np.float32)).coverage.gallery_version
    assert version == sequence
