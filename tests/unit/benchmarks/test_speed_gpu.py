"""The run on a GPU, where there is none: its refusal, its frame, and its parts on stand-ins."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import gpu_face, speed_gpu
from benchmarks.gpu_part import FULL, TINY, Job
from benchmarks.history import append, latest
from biometrik import gpu
from biometrik.config import ModelParameters, RuntimeParameters
from biometrik.errors import ProviderUnavailableError
from biometrik.inference import Runtime

_ROOT = Path(__file__).parents[3]
_SHOWN = gpu.Driver((13, 0), (gpu.Gpu("NVIDIA Test", 80 << 30, (9, 0)),))
#: A part that measures one thing; then what each test adds.
_ONE_ROW = (
    "import json, os, sys, time\nprint('a library says hello')\nprint(json.dumps(['row', {'what': 'x'}]), flush=True)\n"
)


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    history = tmp_path / "history"
    monkeypatch.setattr(command, "append", lambda run: append(run, history))
    return history


def _part(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, more: str, seconds: float = 60.0
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    # Runs a program in the place of a part.
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\n{_ONE_ROW}{more}", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    missing: dict[str, str] = {}
    return speed_gpu._part("search", seconds, tmp_path, [], missing), missing


def test_without_a_gpu_it_refuses_with_the_remedy(
    history: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> gpu.Driver:
        raise ProviderUnavailableError("GPU: expected an NVIDIA driver, got none; install it")

    monkeypatch.setattr(gpu, "driver", none)
    assert command.main(["--gpu"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert re.search(r"got none; install it; then scripts/setup --gpu and scripts/bench --gpu", said.err)
    assert not history.exists()


def test_the_script_refuses_before_it_fetches_anything(tmp_path: Path) -> None:
    # A folder that is no driver hides the machine's own, if it has one.
    done = subprocess.run(
        ["scripts/bench", "--gpu"],
        cwd=_ROOT,
        env={**os.environ, "BIOMETRIK_VENV": str(tmp_path / "venv"), "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "GPU: expected" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_parts_that_cannot_run_say_why_and_the_others_go_on(
    history: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The matcher runs on numba's simulator; the processor's wheels refuse the rest.
    monkeypatch.setattr(gpu, "driver", lambda: _SHOWN)
    monkeypatch.setattr(speed_gpu, "run", lambda options: speed_gpu.measured(options, ["--tiny"]))
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    assert command.main(["--gpu"]) == 1
    said = capsys.readouterr()
    run = json.loads(said.out)
    assert run == latest("speed_gpu", history)
    assert run["figures"]["gpu"]["name"] == "NVIDIA Test"
    assert [row["what"] for row in run["figures"]["matching"]][:2] == ["compilation", "equality"]
    passed = {bar["name"]: bar["passed"] for bar in run["bars"]}
    assert passed["matcher: pairs further than 2e-4 from the processor's similarity"]
    assert all(passed.values())
    for part, why in (("search", "faiss-gpu"), ("embedding, CUDA", "cuda"), ("detection, CUDA", "cuda")):
        assert why in run["not_measured"][part]
        assert f"not measured  {part}: " in said.err
    assert re.search(r"\| full comparison, GPU, 2 references \| [\d.]+ \(", said.err)
    assert "80 GiB, compute capability 9.0, driver for CUDA 13.0" in said.err


def test_a_part_that_dies_leaves_what_it_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, missing = _part(monkeypatch, tmp_path, "sys.stderr.write('Faiss assertion failed\\n')\nos.abort()")
    assert rows == [{"what": "x"}]
    assert re.fullmatch(r"ended with signal 6: Faiss assertion failed", missing["search"])
    assert "a library says hello" in capsys.readouterr().err


def test_a_part_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(speed_gpu, "_GRACE_S", 0.5)
    rows, missing = _part(monkeypatch, tmp_path, "time.sleep(600)", seconds=1.5)
    assert rows == [{"what": "x"}]
    assert missing["search"].startswith("ended after 2 s")


def test_what_is_too_late_does_not_begin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert _part(monkeypatch, tmp_path, "", seconds=1.0) == ([], {"search": "out of time"})


def test_the_budgets_keep_within_eight_minutes() -> None:
    assert sum(speed_gpu.BUDGETS.values()) + len(speed_gpu.BUDGETS) * speed_gpu._GRACE_S <= speed_gpu._WHOLE_S


def test_the_paper_names_parts_budgets_and_what_was_never_run() -> None:
    paper = (_ROOT / "docs" / "operations" / "gpu.md").read_text(encoding="utf-8")
    for name, budget in speed_gpu.BUDGETS.items():
        assert f"| {name} | {budget:.0f} s |" in paper
    for size in (*FULL.references, *FULL.queries):
        assert f"{size:,}" in paper
    assert ("**What has never run on a GPU.**" in paper) == (latest("speed_gpu") is None)


def test_worse_answers_than_promised_miss_their_bars() -> None:
    figures: dict[str, Any] = {
        "matching": [{"what": "equality", "pairs": 1000, "beyond_tolerance": 11, "other_best": 1}],
        "search": [{"what": "answers", "faces": 1000, "queries": 64, "different": 1}],
        "embedding": [{"what": "agreement", "where": "CUDA", "images": 256, "least_cosine": 0.999}],
        "detection": [{"what": "agreement", "where": "CUDA", "images": 16, "different": 1}],
    }
    assert [bar.passed for bar in speed_gpu._bars(figures, 481.0)] == [False] * 6


@pytest.mark.parametrize("part", ["embedding", "detection"])
def test_the_face_parts_with_the_processor_in_the_place_of_the_gpu(
    part: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def on_processor(job: Job, _provider: str) -> Runtime:
        return Runtime(RuntimeParameters(threads=1), ModelParameters(cache=job.cache))

    def network(path: Path, largest: int, _cache: Path) -> Callable[[Any], Any]:
        assert largest == max(TINY.crops)
        return lambda batch: Runtime(RuntimeParameters(threads=1), ModelParameters()).open(path).run(batch)[0]

    monkeypatch.setattr(gpu_face, "_runtime", on_processor)
    monkeypatch.setattr(gpu_face, "_tensorrt", network)
    monkeypatch.setattr(gpu_face, "find_spec", lambda _name: True)
    told: list[Any] = list(gpu_face.measure(Job(part, TINY, tmp_path, time.monotonic() + 60)))
    assert not [line for line in told if line[0] == "missing"]
    rows = [line[1] for line in told if line[0] == "row"]
    figures: dict[str, Any] = {name: [] for name in speed_gpu.BUDGETS} | {part: rows}
    bars = speed_gpu._bars(figures, 1.0)
    assert len(bars) == (3 if part == "embedding" else 2)
    assert all(bar.passed for bar in bars)
    assert "CUDA, batch 1 |" in speed_gpu._table(rows)


def test_the_search_part_on_a_stand_in() -> None:
    standin = "tests.unit.gallery.indexes.gpu_standin"
    file = "tests/unit/benchmarks/simulated_gpu_search.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", standin, "-p", "no:cacheprovider", file],
        cwd=_ROOT,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout.splitlines()[-1]
