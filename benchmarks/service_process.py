"""A server in a process of its own: started, watched from outside, ended whatever happens."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from benchmarks.history import ROOT, NotRunError

_READY_WITHIN_S: Final = 60.0
_STOPPED_WITHIN_S: Final = 40.0
_LOOK_EVERY_S: Final = 0.005
_SAMPLE: Final = re.compile(r"^(\w+)(?:\{.*\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process holds, and has used since it began.

    Parameters
    ----------
    at_s : float
        Monotonic seconds.
    cpu_s : float
        Processor time of all threads.
    resident_mib : float
        Memory.
    threads, descriptors : int
        Of the operating system.
    """

    at_s: float
    cpu_s: float
    resident_mib: float
    threads: int
    descriptors: int


class ServerProcess:
    """A server that listens on a free port of this machine; use it as a context manager.

    Parameters
    ----------
    database : Path or None
        That it serves; None for a station, which has none.
    cache : Path
        Folder of the folded weights.
    folder : Path
        Empty or absent; its configuration and its log go there.
    module : str
        What is run: ``biometrik_server``, ``biometrik_station``, or a variant that takes the same arguments.
    more : str
        TOML that is added to the configuration.

    Attributes
    ----------
    address : str
        ``host:port``.
    ready_s : float
        From before the interpreter started until the server said that it is ready.

    Raises
    ------
    NotRunError
        It did not become ready.
    """

    def __init__(
        self, database: Path | None, cache: Path, folder: Path, *, module: str = "biometrik_server", more: str = ""
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "log.jsonl"
        self._metrics = f"127.0.0.1:{_free_port()}"
        config = folder / "server.toml"
        settings = {"listen": "127.0.0.1:0", "metrics": self._metrics}
        if database is not None:
            settings["database"] = str(database)
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        config.write_text(
            "\n".join([*lines, "[engine]", f"cache = {json.dumps(str(cache))}\n", more]), encoding="utf-8"
        )
        started = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, "--config", str(config)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            self.address = self._listening(started + _READY_WITHIN_S)
        except BaseException:
            self.close()
            raise
        self.ready_s = time.perf_counter() - started

    def usage(self) -> Usage:
        """Return what it holds and has used."""
        return usage(self._process.pid)

    def counted(self, metric: str) -> float:
        """Return a number of its metrics page, summed over labels; 0 for one that is not there."""
        with urllib.request.urlopen(f"http://{self._metrics}/metrics", timeout=10) as page:
            text = page.read().decode()
        return sum(float(value) for name, value in _SAMPLE.findall(text) if name == metric)

    def stop(self) -> None:
        """Ask it to finish, as an operator would, and wait; raises NotRunError if it does not end well."""
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(_STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            raise NotRunError(f"server: expected to stop within {_STOPPED_WITHIN_S:g} s, did not") from None
        if status:
            raise NotRunError(f"server: expected exit status 0, got {status}: {self._last_words()}")

    def close(self) -> None:
        """End it at once, if it still runs."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listening(self, until: float) -> str:
        while time.perf_counter() < until:
            for row in _rows(self._log):
                if row.get("event") == "ready":
                    return str(row["listening"])
            if self._process.poll() is not None:
                raise NotRunError(f"server: ended before it was ready: {self._last_words()}")
            time.sleep(_LOOK_EVERY_S)
        raise NotRunError(f"server: expected to be ready within {_READY_WITHIN_S:g} s, was not")

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


class Watch:
    """Takes a server's usage now and then, on a thread, between ``with`` and its end.

    Parameters
    ----------
    server : ServerProcess
        Whose.
    every_s : float
        Seconds between two looks.

    Attributes
    ----------
    seen : list of Usage
        In order.
    """

    def __init__(self, server: ServerProcess, every_s: float) -> None:
        self._server = server
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.seen: list[Usage] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.is_set():
            self.seen.append(self._server.usage())
            self._ended.wait(self._every_s)


def usage(pid: int) -> Usage:
    """Return what a process of this machine holds and has used.

    Raises
    ------
    NotRunError
        It has ended, or this system has no ``/proc``.
    """
    folder = Path("/proc") / str(pid)
    try:
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        descriptors = len(list((folder / "fd").iterdir()))
        resident_mib = int(status["VmRSS"].split()[0]) / 1024
    except (OSError, KeyError):  # a process that has ended but is not waited for holds no memory
        raise NotRunError(f"usage of process {pid}: expected one that runs, in /proc; it has ended") from None
    # Fields 14 and 15 of proc(5), utime and stime; the two before the name are gone here.
    cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return Usage(time.monotonic(), cpu_s, resident_mib, int(status["Threads"]), descriptors)


def _rows(log: Path) -> list[Mapping[str, object]]:
    # Only whole lines: the last may still be on its way.
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    return [json.loads(line) for line in lines if line.startswith("{")]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
