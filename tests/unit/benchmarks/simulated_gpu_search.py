"""The search part of the run on a GPU, on the stand-in; run by test_speed_gpu.py in a process of its own."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import gpu_search
from benchmarks.gpu_part import TINY, Job
from biometrik.gallery.indexes.faiss_gpu import FaissGpu


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Job:
    monkeypatch.setattr(gpu_search, "_used_bytes", lambda: 0)  # the simulator's memory is without end
    return Job("search", TINY, tmp_path, time.monotonic() + 60)


def _rows(job: Job) -> list[dict[str, Any]]:
    told: list[Any] = list(gpu_search.measure(job))
    assert not [line for line in told if line[0] == "missing"]
    return [line[1] for line in told if line[0] == "row"]


def test_every_size_is_filled_searched_checked_and_changed(job: Job) -> None:
    rows = _rows(job)
    for faces in TINY.vectors:
        mine = [row for row in rows if row["faces"] == faces]
        assert [row["different"] for row in mine if row["what"] == "answers"] == [0]
        asked = [(row["index"], row["batch"]) for row in mine if row["what"] == "search"]
        assert asked == [(name, batch) for batch in TINY.queries for name in ("faiss-gpu", "bare")]
        assert {"fill", "search of half", "removal"} <= {row["what"] for row in mine}


def test_a_wrong_answer_is_counted(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    search = FaissGpu._search

    def wrong(index: FaissGpu, queries: Any, allowed: Any, ids: Any, similarities: Any) -> None:
        search(index, queries, allowed, ids, similarities)
        ids[0, :2] = ids[0, 1::-1]

    monkeypatch.setattr(FaissGpu, "_search", wrong)
    assert [row["different"] for row in _rows(job) if row["what"] == "answers"] == [1, 1]


def test_what_there_is_no_time_for_is_said(job: Job) -> None:
    late = Job("search", TINY, job.cache, time.monotonic())
    told = list(gpu_search.measure(late))
    assert told == [("missing", f"search, {count:,} faces", "out of time") for count in TINY.vectors]
    assert np.all([len(line) == 3 for line in told])
