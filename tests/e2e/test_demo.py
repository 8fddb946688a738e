"""The demo end to end, as a person starts it: every step comes out as it must, and the page stands alone."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

#: What must come of each step.
OUTCOMES = {
    "enroll-A-0101": "ENROLLED",
    "enroll-A-0102": "ENROLLED",
    "enroll-A-0103": "ENROLLED",
    "enroll-A-0104": "ENROLLED",
    "enroll-A-0105": "ENROLLED",
    "enroll-A-0106": "ENROLLED",
    "enroll-too-dark": "NEEDS_RECAPTURE",
    "enroll-several-faces": "FAILURE_TO_ENROLL",
    "verify-genuine-A-0101": "MATCH",
    "verify-genuine-A-0103": "MATCH",
    "verify-genuine-A-0106": "MATCH",
    "verify-impostor-1": "NO_MATCH",
    "verify-impostor-2": "NO_MATCH",
    "verify-no-face": "INCONCLUSIVE",
    "verify-too-dark": "INCONCLUSIVE",
    "verify-beyond-evidence": "THRESHOLD_UNSUPPORTED",
    "identify-known": "MATCH",
    "identify-stranger-1": "NO_MATCH",
    "identify-stranger-2": "NO_MATCH",
    "second-opener": "DATABASE_LOCKED",
    "reopen": "MATCH",
    "erase": "ERASED",
    "verify-erased": "SUBJECT_NOT_FOUND",
    "identify-erased": "NO_MATCH",
}
#: Photographs on the page, and those that the engine found a face in: box, landmarks and aligned crop.
PHOTOGRAPHS, FACES = 31, 27


class _Resources(HTMLParser):
    """Collects what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self.tags: set[str] = set()
        self.images = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.images += tag == "img"
        for name, value in attrs:
            if name in ("src", "href", "data", "srcset", "poster", "action"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.add(value or "")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Return the JSON that the demo printed, and its folder."""
    folder = tmp_path_factory.mktemp("work") / "page"
    command = [sys.executable, "-m", "biometrik.cli", "demo", "--output", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = done.stdout.splitlines()
    return json.loads(line), folder


def test_every_step_comes_out_as_it_must(demo: tuple[dict[str, Any], Path]) -> None:
    answer, _ = demo
    assert answer["passed"] is True
    assert {step["key"]: step["outcome"] for step in answer["steps"]} == OUTCOMES
    assert all(step["passed"] for step in answer["steps"])


def test_the_answers_carry_score_threshold_rate_and_time(demo: tuple[dict[str, Any], Path]) -> None:
    steps = {step["key"]: step for step in demo[0]["steps"]}
    genuine, impostor = steps["verify-genuine-A-0101"], steps["verify-impostor-1"]
    assert genuine["score"] >= genuine["threshold"] == 30.0 > impostor["score"]
    assert genuine["rate_asked"] == 1e-3
    assert genuine["rate_achieved"]["low"] <= genuine["rate_achieved"]["value"] <= genuine["rate_achieved"]["high"]
    assert steps["identify-known"]["rate_asked"] == 0.01
    assert steps["identify-known"]["threshold"] < steps["verify-genuine-A-0101"]["threshold"]
    assert steps["verify-no-face"]["score"] is None
    assert all(step["elapsed_ms"] >= 0 for step in steps.values())
    assert "now 0 time(s)" in steps["erase"]["finding"]
    assert re.search(r"process \d+", steps["second-opener"]["finding"])


def test_the_page_is_alone_in_its_folder_and_where_the_answer_says(demo: tuple[dict[str, Any], Path]) -> None:
    answer, folder = demo
    assert Path(answer["page"]) == folder / "index.html"
    assert [path.name for path in folder.iterdir()] == ["index.html"]


def test_the_page_needs_nothing_from_elsewhere(demo: tuple[dict[str, Any], Path]) -> None:
    text = (demo[1] / "index.html").read_text(encoding="utf-8")
    page = _Resources()
    page.feed(text)
    assert page.images == PHOTOGRAPHS + FACES
    assert [a for a in page.addresses if not a.startswith(("data:image/jpeg;base64,", "#"))] == []
    assert not page.tags & {"script", "link", "iframe", "object", "embed"}
    assert not re.search(r"https?://|url\(|@import", text)
    assert {a[1:] for a in page.addresses if a.startswith("#")} == set(OUTCOMES) <= page.ids


def test_the_page_says_what_an_officer_needs(demo: tuple[dict[str, Any], Path]) -> None:
    answer, folder = demo
    text = (folder / "index.html").read_text(encoding="utf-8")
    for needed in (
        "re-photographed copy",
        "All 24 steps came out as they must",
        "fewer than 1 of",
        "The face is too dark: add light from the front.",
        "Wajah terlalu gelap: tambah cahaya dari depan.",
        "inter eye distance",
        "Apache-2.0",
        "do not publish",
        answer["calibration_id"],
        answer["model_contract_id"],
    ):
        assert needed in text, needed
    assert text.count('class="shot"') == PHOTOGRAPHS
    assert text.count('class="found"') == text.count('class="crop"') == FACES
