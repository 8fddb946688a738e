"""Servers started and watched from outside, with a program in the server's place that does as it is told."""

import os
from pathlib import Path

import pytest

from benchmarks.history import NotRunError
from benchmarks.service_process import ServerProcess, Usage, Watch, usage

PROGRAM = """
import json, signal, sys, threading, tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
with open(sys.argv[2], "rb") as file:
    config = tomllib.load(file)
assert config["database"] == "office.db" and config["engine"]["cache"] == "weights"
class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'# HELP calls_total Calls.\\ncalls_total{rpc="A",code="OK"} 3.0\\n')
        self.wfile.write(b'calls_total{rpc="B"} 2.0\\nqueue 7.5\\n')
    def log_message(self, *_): pass
host, port = config["metrics"].split(":")
server = HTTPServer((host, int(port)), Page)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("a line that is no JSON", file=sys.stderr)
print(json.dumps({"event": "starting"}), file=sys.stderr)
print(json.dumps({"event": "ready", "listening": "127.0.0.1:7"}), file=sys.stderr, flush=True)
server.serve_forever()
server.server_close()
sys.exit(EXIT)
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "obedient.py").write_text(PROGRAM.replace("EXIT", "0"), encoding="utf-8")
    (tmp_path / "sulky.py").write_text(PROGRAM.replace("EXIT", "3"), encoding="utf-8")
    (tmp_path / "broken.py").write_text("raise SystemExit('no room at the inn')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def started(programs: Path, module: str) -> ServerProcess:
    return ServerProcess(Path("office.db"), Path("weights"), programs / "run", module=module)


def test_a_server_is_found_where_it_says_that_it_listens(programs: Path) -> None:
    with started(programs, "obedient") as server:
        assert server.address == "127.0.0.1:7"
        assert 0 < server.ready_s < 60
        seen = server.usage()
        assert seen.resident_mib > 1
        assert seen.descriptors >= 4
        server.stop()
    with pytest.raises(NotRunError, match="ended"):
        server.usage()


def test_numbers_of_the_metrics_page_are_summed_over_labels(programs: Path) -> None:
    with started(programs, "obedient") as server:
        assert server.counted("calls_total") == 5.0
        assert server.counted("queue") == 7.5
        assert server.counted("calls") == 0.0


def test_a_server_that_ends_badly_is_no_measurement(programs: Path) -> None:
    with started(programs, "sulky") as server, pytest.raises(NotRunError, match="got 3"):
        server.stop()


def test_a_server_that_does_not_start_says_why(programs: Path) -> None:
    with pytest.raises(NotRunError, match="no room at the inn"):
        started(programs, "broken")


def test_what_this_process_uses_grows_with_what_it_does() -> None:
    before = usage(os.getpid())
    with Path(os.devnull).open("rb"):
        while (after := usage(os.getpid())).cpu_s < before.cpu_s + 0.02:
            pass
        assert after.descriptors == before.descriptors + 1
    assert after.at_s > before.at_s
    assert after.threads >= 1


def test_a_watch_looks_until_its_block_ends() -> None:
    class Server:
        looks = 0

        def usage(self) -> Usage:
            self.looks += 1
            return Usage(float(self.looks), 0.0, 1.0, 1, 1)

    server = Server()
    with Watch(server, 0.001) as watch:  # type: ignore[arg-type]
        while server.looks < 3:
            pass
    looks = server.looks
    assert [seen.at_s for seen in watch.seen] == [float(k + 1) for k in range(looks)]
