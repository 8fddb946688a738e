"""A real server in a process of its own, its log in a file, and what it holds of the machine."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self

import numpy as np

from biometrik.client import Client, Connection, StationClient
from biometrik.types import Modality, Template

#: Far longer than a start takes, also on a busy machine that has to rewrite weights first.
_START_S: Final = 90.0
_END_S: Final = 60.0


class StartError(Exception):
    """The server ended before it was ready.

    Parameters
    ----------
    status : int
        Its exit status.
    said : str
        What it wrote to standard error.
    """

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"the server ended with status {status}: {said}")
        self.status = status
        self.said = said


class ServerProcess:
    """A server that is ready; use it as a context manager, which kills what is still running.

    Parameters
    ----------
    folder : Path
        Holds the database ``office.db``, the configuration and the log; shared by servers that follow one another.
    settings : str
        TOML after the lines for ``database`` and ``listen``; top-level settings first.
    listen : str
        Where; a free port of this machine unless it is said.
    database : str
        Another file than the folder's own.

    Raises
    ------
    StartError
        It ended before it was ready.
    """

    module: ClassVar[str] = "biometrik_server"

    def __init__(self, folder: Path, settings: str = "", *, listen: str = "127.0.0.1:0", database: str = "") -> None:
        config = folder / f"{self.module}.toml"
        where = self._where(folder, listen, database)
        head = "".join(f"{name} = {json.dumps(value)}\n" for name, value in where.items())
        config.write_text(head + settings, encoding="utf-8")
        self._log = folder / f"server-{time.monotonic_ns()}.log"
        with self._log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module, "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        try:
            self._ready = self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    # --- its life --------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float = _END_S) -> int:
        """Return its exit status, negative for the signal that ended it; raises TimeoutExpired."""
        return self._process.wait(timeout_s)

    def stop(self) -> int:
        """Ask it to stop and return its exit status."""
        self.send(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it at once, and wait until it is gone."""
        self._process.kill()
        self._process.wait(_END_S)

    # --- how to reach it -------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """``host:port`` or ``unix:/path``."""
        return str(self._ready["listening"])

    @property
    def model_contract_id(self) -> str:
        """Of the models in force."""
        return str(self._ready["models"])

    def client(self, **settings: Any) -> Client:
        """Return a client that has reached it; ``settings`` are a Connection's."""
        client = Client(Connection(self.address, **settings))
        client.wait_until_ready(_START_S)
        return client

    def metrics(self) -> dict[str, float]:
        """Return the metrics page, value by name with labels; the server's settings must ask for a page."""
        with urllib.request.urlopen(f"http://{self._ready['metrics']}/metrics", timeout=10) as page:
            text = page.read().decode()
        rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in rows}

    # --- what it says and holds ------------------------------------------------------------------------------

    def log(self) -> str:
        """Return all that it wrote to standard error until now."""
        return self._log.read_text("utf-8")

    def events(self) -> list[dict[str, Any]]:
        """Return its log, line by line; raises ValueError for a line that is not JSON."""
        return [json.loads(line) for line in self.log().splitlines()]

    def memory_bytes(self) -> int:
        """Return its resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def thread_count(self) -> int:
        """Return how many threads it has."""
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    def descriptor_count(self) -> int:
        """Return how many files and sockets it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    @staticmethod
    def _where(folder: Path, listen: str, database: str) -> dict[str, str]:
        return {"database": database or str(folder / "office.db"), "listen": listen}

    def _wait_until_ready(self) -> dict[str, Any]:
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            status = self._process.poll()
            for line in self.log().splitlines(keepends=True):
                if '"event": "ready"' in line and line.endswith("\n"):
                    return dict(json.loads(line))
            if status is not None:
                raise StartError(status, self.log())
            time.sleep(0.02)
        raise TimeoutError(f"the server was not ready within {_START_S:g} s: {self.log()}")


class StationProcess(ServerProcess):
    """A station that is ready, as :class:`ServerProcess`; without a database."""

    module: ClassVar[str] = "biometrik_station"

    @staticmethod
    def _where(folder: Path, listen: str, database: str) -> dict[str, str]:
        return {"listen": listen}

    def station(self, **settings: Any) -> StationClient:
        """Return a client that has reached it; ``settings`` are a Connection's."""
        client = StationClient(Connection(self.address, **settings))
        client.wait_until_ready(_START_S)
        return client


def random_template(seed: str, model_contract_id: str, dimension: int = 128) -> Template:
    """Return a face template of nobody: a random direction, the same for the same seed."""
    vector = np.random.default_rng(list(seed.encode())).standard_normal(dimension)
    unit = (vector / np.linalg.norm(vector)).astype("<f4")
    return Template(Modality.FACE, model_contract_id, unit.tobytes())
