"""An import that is killed again and again: run once more, it has enrolled everybody, and nobody twice."""

import base64
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from biometrik.config import EngineConfig, RuntimeParameters
from biometrik.engine import Engine
from tests.soak.server_process import random_template

PEOPLE, KILLS, WAIT_S = 1_500, 4, 120.0


def test_killed_at_any_moment_an_import_goes_on_and_doubles_nobody(tmp_path: Path) -> None:
    config = EngineConfig(runtime=RuntimeParameters(threads=1, warm_up=False))
    with Engine.open(tmp_path / "office.db", config) as engine:
        contract = engine.model_contract_id
    source, report, rng = tmp_path / "people.jsonl", tmp_path / "report.jsonl", random.Random(5)
    rows = [
        {
            "subject": f"S-{number}",
            "template": base64.b64encode(random_template(str(number), contract).to_bytes()).decode(),
        }
        for number in range(PEOPLE)
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), "ascii")
    words = ["import", str(source), "--db", str(tmp_path / "office.db"), "--report", str(report), "--json"]
    process = [sys.executable, "-m", "biometrik.cli", *words]
    told = 0
    for _ in range(KILLS):
        running = subprocess.Popen(process, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        enough = told + rng.randrange(1, PEOPLE // KILLS)
        deadline = time.monotonic() + WAIT_S
        while running.poll() is None and told < enough:
            assert time.monotonic() < deadline
            told = report.read_bytes().count(b"\n") if report.exists() else 0
            time.sleep(0.001)
        running.send_signal(signal.SIGKILL)
        running.wait(WAIT_S)
    assert 0 < told < PEOPLE
    done = subprocess.run(process, capture_output=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)["outcomes"]
    assert outcomes["ENROLLED"] + outcomes["SKIPPED"] == PEOPLE
    with Engine.open(tmp_path / "office.db", config) as engine:
        assert engine.gallery("default").subjects == engine.gallery("default").encounters == PEOPLE
    lines = [json.loads(line) for line in report.read_text("ascii").splitlines()]
    assert {line["subject_id"] for line in lines} == {row["subject"] for row in rows}
