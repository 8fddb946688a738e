"""The demo end to end, as a person starts it: every step comes out as it must, and the page stands alone."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
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
    "enroll-repeated": "ENROLLED",
    "enroll-duplicate": "DUPLICATE_SUSPECTED",
    "verify-genuine-A-0101": "MATCH",
    "verify-genuine-A-0103": "MATCH",
    "verify-genuine-A-0106": "MATCH",
    "verify-impostor-1": "NO_MATCH",
    "verify-impostor-2": "NO_MATCH",
    "verify-few": "MATCH",
    "verify-no-face": "INCONCLUSIVE",
    "verify-too-dark": "INCONCLUSIVE",
    "verify-beyond-evidence": "THRESHOLD_UNSUPPORTED",
    "identify-known": "MATCH",
    "identify-stranger-1": "NO_MATCH",
    "identify-stranger-2": "NO_MATCH",
    "fingers-enroll": "ENROLLED",
    "fingers-enroll-other": "ENROLLED",
    "fingers-twice": "NEEDS_RECAPTURE",
    "fingers-genuine": "MATCH",
    "fingers-and-face": "MATCH",
    "fingers-impostor": "NO_MATCH",
    "fingers-identify": "MATCH",
    "refused-scope": "PERMISSION_DENIED",
    "second-opener": "DATABASE_LOCKED",
    "reopen": "MATCH",
    "enroll-several-faces": "FAILURE_TO_ENROLL",
    "erase": "ERASED",
    "verify-erased": "SUBJECT_NOT_FOUND",
    "identify-erased": "NO_MATCH",
}
#: Photographs, prints and pairs on the page; photographs in which a face was found: box, landmarks, aligned crop.
PHOTOGRAPHS, FACES = 54, 36


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
    assert "scope privacy" in steps["refused-scope"]["finding"]
    assert "it is A-0105" in steps["verify-few"]["finding"]


def test_a_service_answered_and_nothing_of_it_is_left(demo: tuple[dict[str, Any], Path]) -> None:
    said = re.fullmatch(r"127\.0\.0\.1:(\d+), process (\d+), .* from start to ready", demo[0]["service"])
    assert said
    assert demo[0]["log"] == ""
    port, process = int(said[1]), int(said[2])
    assert not Path(f"/proc/{process}").exists()
    with socket.socket() as line:
        assert line.connect_ex(("127.0.0.1", port)) != 0


def test_a_demo_that_is_ended_stops_its_service(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "biometrik.cli", "demo", "--output", str(tmp_path / "page"), "--json"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as demo:
        try:
            service = _child_of(demo.pid)
            demo.send_signal(signal.SIGTERM)
            assert demo.wait(60) == 128 + signal.SIGTERM
        finally:
            demo.kill()
    assert not Path(f"/proc/{service}").exists()


def _child_of(process: int) -> int:
    children = Path(f"/proc/{process}/task/{process}/children")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for child in map(int, children.read_text("ascii").split()):
            # Between fork and exec the child is not yet what the parent knows of.
            if b"serve" in Path(f"/proc/{child}/cmdline").read_bytes():
                time.sleep(0.2)
                return child
        time.sleep(0.02)
    raise AssertionError("the demo started no service")


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
        "All 35 steps came out as they must",
        "fewer than 1 of",
        "The face is too dark: add light from the front.",
        "Wajah terlalu gelap: tambah cahaya dari depan.",
        "inter eye distance",
        "Apache-2.0",
        "The same encounter id as at first; one encounter is stored.",
        "Of A-0103, A-0104, A-0105 it is A-0105.",
        "expected scope privacy",
        "do not publish",
        answer["calibration_id"],
        answer["model_contract_id"],
    ):
        assert needed in text, needed
    assert text.count('class="shot"') == PHOTOGRAPHS
    assert text.count('class="found"') == text.count('class="crop"') == FACES
