import json
import subprocess
from pathlib import Path

import pytest

from benchmarks.history import Bar, Result, append, commit, latest, machine, record


@pytest.mark.parametrize(
    ("value", "at_most", "passed"),
    [(1.0, True, True), (1.01, True, False), (0.99, True, True), (1.0, False, True), (0.99, False, False)],
)
def test_a_bar_is_kept_up_to_its_bound(value: float, at_most: bool, passed: bool) -> None:
    assert Bar("promise", 1.0, value, at_most=at_most).passed is passed


def test_a_record_says_when_where_and_what() -> None:
    run = record("speed_demo", Result({"rounds": 3}, {"ms": [1.0]}, (Bar("fast", 2.0, 3.0, "ms"),), {"bf16": "none"}))
    assert run["benchmark"] == "speed_demo"
    assert run["date"].endswith("+00:00")
    assert {"commit", "dirty", "packages"} <= set(run)
    assert {"cpu", "cores", "flags", "memory_mib", "python"} <= set(run["machine"])
    assert run["bars"] == [
        {
            "name": "fast",
            "target": 2.0,
            "value": 3.0,
            "unit": "ms",
            "at_most": True,
            "low": None,
            "high": None,
            "passed": False,
        }
    ]
    assert run["not_measured"] == {"bf16": "none"}


def test_history_only_grows_and_the_last_line_counts(tmp_path: Path) -> None:
    assert latest("speed_demo", tmp_path) is None
    for k in range(3):
        path = append({"benchmark": "speed_demo", "k": k}, tmp_path / "history")
    assert [json.loads(line)["k"] for line in path.read_text(encoding="utf-8").splitlines()] == [0, 1, 2]
    assert latest("speed_demo", tmp_path / "history") == {"benchmark": "speed_demo", "k": 2}


def test_what_is_not_a_number_is_not_recorded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        append({"benchmark": "speed_demo", "ms": float("nan")}, tmp_path)


def test_commit_says_whether_files_differ_from_it(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    assert commit(tmp_path) == {"commit": None, "dirty": None}
    git("init")
    git("commit", "--allow-empty", "--message", "first")
    clean = commit(tmp_path)
    assert len(clean["commit"]) == 12
    assert clean["dirty"] is False
    # A benchmark's own records do not make its next run one of changed files.
    (tmp_path / "benchmarks" / "history").mkdir(parents=True)
    (tmp_path / "benchmarks" / "history" / "speed_demo.jsonl").write_text("{}\n", encoding="utf-8")
    assert commit(tmp_path) == clean
    (tmp_path / "code.py").write_text("", encoding="utf-8")
    assert commit(tmp_path)["dirty"] is True


def test_machine_counts_the_cores_it_may_use() -> None:
    assert machine()["cores"] >= 1
