"""The benchmark of the search by fingers: its bars come from its figures, and it renders what it recorded."""

import json
from pathlib import Path

import numpy as np

from benchmarks import speed_search_finger as benchmark
from benchmarks.history import record
from biometrik.fingerprint import payload
from biometrik.fingerprint.matchers.cylinders import CylinderMatcher


def test_a_gallery_goes_through_the_store_into_the_index(tmp_path: Path) -> None:
    references = [benchmark._drawn(number) for number in range(1, 4)]
    path = tmp_path / "office.db"
    benchmark._store(path, references)
    matcher = CylinderMatcher()
    index, seconds = benchmark._loaded(path, matcher)
    assert len(index) == 6
    assert seconds.keys() == {"read", "prepare", "add"}
    probe = {2: matcher.prepare(payload.unpack(references[1][0]))}
    numbers, _ = index.candidates(probe, np.ones(4, dtype=np.bool_), 1)
    (similar,) = index.compare(probe, numbers).similar.values()
    assert numbers[int(np.argmax(similar))] == 2

    times = {"staged": [0.02, 0.02], "exhaustive": [0.1, 0.2]}
    found = {"drawn": [(1, True, True), (2, False, True), (3, False, False)], "imaged": [(4, True, True)]}
    run = record("speed_search_finger", benchmark._result(index, seconds, times, found, [200, 300]))
    same, ratio, rate, load = run["bars"]
    assert (same["value"], same["passed"]) == (2 / 3, False)
    assert round(ratio["value"], 3) == 7.5
    assert (rate["value"], rate["passed"]) == (6 / 0.02, False)
    assert load["passed"]
    text = benchmark.render(json.loads(json.dumps(run)), tmp_path)
    assert "| drawn | 3 | 2 | 1 | 1 |" in text
    assert "about\n250 subjects" in text
