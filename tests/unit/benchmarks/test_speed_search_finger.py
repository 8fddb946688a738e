"""The benchmark of the search by fingers: its bars come from its figures, and it renders what it recorded."""

import json
from pathlib import Path

import numpy as np

from benchmarks import speed_search_finger as benchmark
from benchmarks.history import latest, record
from biometrik.fingerprint import payload
from biometrik.fingerprint.matchers.cylinders import CylinderMatcher
from biometrik.gallery.prints import PrintIndex


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
    drawn = [(1, 1, 1), (2, 9, 2), (3, 9, 9), (4, 4, 8), (5, 5, None)]
    found = {
        "drawn": [benchmark.Found(mate, staged, full) for mate, staged, full in drawn],
        "imaged": [benchmark.Found(6, 6, 6)],
    }
    by_share = benchmark._by_share(index, np.ones(4, dtype=np.bool_), [(2, {2: probe[2], 7: probe[2]})])
    assert [row[::2] for row in by_share["one finger"]] == [[share, 1.0] for share in benchmark._SHARES]
    run = record("speed_search_finger", benchmark._result(index, seconds, times, found, [200, 300], by_share))
    same, claimed, ratio, rate, load = run["bars"]
    assert (same["value"], same["passed"]) == (3 / 5, False)
    assert same["low"] < 3 / 5 < same["high"]
    assert (claimed["target"], claimed["passed"]) == (index.recall_claimed, False)
    assert run["figures"]["recall"]["value"] == 4 / 6
    assert round(ratio["value"], 3) == 7.5
    assert (rate["value"], rate["passed"]) == (6 / 0.02, False)
    assert load["passed"]
    text = benchmark.render(json.loads(json.dumps(run)), tmp_path)
    assert "| drawn | 5 | 3 | 4 | 2 | 2 |" in text
    assert "about\n250 subjects" in text
    assert "66.67 % have the mate first" in text


def test_wilsons_interval_is_his() -> None:
    # R. G. Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17, 1998:
    # method 3 in table I.
    for count, of, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        np.testing.assert_allclose(benchmark.wilson(count, of), (low, high), atol=5e-5)


def test_the_claim_is_not_above_what_was_recorded() -> None:
    run = latest("speed_search_finger")
    assert run is not None
    assert PrintIndex.recall_claimed <= run["figures"]["recall"]["low"]
