"""A counter's program killed while it keeps, sends and forwards enrolments: nothing lost, nothing twice.

``scripts/soak`` calls :func:`killing`. The program is this module run by itself: one thread keeps and enrols, another
forwards what waits, and each subject is printed once its enrolment is safe. After the kill everything is forwarded by
a new program, and the service is asked what it has.
"""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from biometrik.client import Client
from biometrik.errors import SubjectNotFoundError
from biometrik_station.forwarding import Forwarder, enroll, forward, request_of
from biometrik_station.spool import Spool
from tests.soak.server_process import ServerProcess, random_template

#: Until a program has kept its first enrolment, and until its end is known, seconds.
_BEGINS_S: Final = 60.0
#: A kill comes within so long after the first enrolment, seconds: dozens of enrolments are kept, sent or removed.
_KILLED_WITHIN_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class Failure:
    """An enrolment that was lost, is there twice, or is in nobody's hands."""

    index: int
    target: str
    what: str


class Killing:
    """Kills programs in rounds, and counts what they did.

    Parameters
    ----------
    folder : Path
        Holds the spool and its key.
    server : ServerProcess
        The service.
    office : Client
        Asks it what it has.
    """

    def __init__(self, folder: Path, server: ServerProcess, office: Client) -> None:
        self._folder, self._server, self._office = folder, server, office
        self._safe = self._waited = 0

    def __call__(self, count: int, seed: int, start: int, /) -> list[Failure]:
        """Kill ``count`` programs."""
        return [
            failure
            for index in range(start, start + count)
            for failure in self._round(index, random.Random(f"{seed}:{index}"))
        ]

    @property
    def figures(self) -> Mapping[str, Any]:
        """How many enrolments the programs called safe, and how many of all waited when they were killed."""
        return {"safe": self._safe, "waited": self._waited}

    def _round(self, index: int, rng: random.Random) -> list[Failure]:
        arguments = [str(self._folder), self._server.address, self._server.model_contract_id, str(index)]
        command = [sys.executable, "-m", "tests.soak.station", *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            late = threading.Timer(_BEGINS_S, program.kill)
            late.start()
            said = [program.stdout.readline()]
            threading.Event().wait(rng.uniform(0.0, _KILLED_WITHIN_S))
            program.send_signal(signal.SIGKILL)
            killed = program.wait(_BEGINS_S) == -signal.SIGKILL
            said += program.stdout.readlines()
            late.cancel()
        safe = [line.strip() for line in said if line.endswith("\n")]
        if not safe or not killed:
            return [Failure(index, "round", "the program ended by itself, or before it kept anything")]
        self._safe += len(safe)
        spool = Spool(self._folder / "spool", self._folder / "spool.key")
        self._waited += len(spool.waiting())
        return _faults(spool, self._server, self._office, index, safe)


@contextmanager
def killing() -> Iterator[Killing]:
    """Yield what kills programs in rounds, over one service and one spool."""
    with TemporaryDirectory() as name, ServerProcess(Path(name)) as server, server.client() as office:
        key = Path(name) / "spool.key"
        key.touch(0o600)
        key.write_text("5f" * 32)
        yield Killing(Path(name), server, office)


def _faults(spool: Spool, server: ServerProcess, office: Client, index: int, safe: list[str]) -> list[Failure]:
    with Forwarder(server.address) as line:
        bad = [row.why for row in forward(spool, line.send) if row.why]
    failures = [Failure(index, "forwarded", why) for why in bad]
    if left := [*spool.waiting(), *spool.aside()]:
        failures.append(Failure(index, "spool", f"{len(left)} entries are left"))
    for subject in safe:
        if (times := _times(office, subject)) != 1:
            failures.append(Failure(index, "safe", f"enrolled {times} times"))
    # What the program was at when it was killed, it had not called safe: it may be there, once.
    begun = range(len(safe), len(safe) + 2)
    for number in begun:
        if (times := _times(office, _subject(index, number))) > 1:
            failures.append(Failure(index, "not yet safe", f"enrolled {times} times"))
    return failures


def _times(office: Client, subject: str) -> int:
    try:
        return len(office.subject(subject).encounters)
    except SubjectNotFoundError:
        return 0


def _subject(index: int, number: int) -> str:
    return f"{index}-{number}"


def main(folder: Path, address: str, contract: str, index: int) -> None:
    """Keep, enrol and forward until killed."""
    spool = Spool(folder / "spool", folder / "spool.key")
    with Forwarder(address) as line:

        def forward_all() -> None:
            try:
                while True:
                    for row in forward(spool, line.send):
                        assert not row.why, row.why
            finally:
                os._exit(1)  # it ends with the program only

        threading.Thread(target=forward_all, daemon=True).start()
        for number in range(1_000_000):
            subject = _subject(index, number)
            request = request_of(subject, [random_template(subject, contract)])
            if number % 2:
                assert enroll(spool, line.send, request) is not None
            else:  # as while the service is away
                spool.keep(request)
            sys.stdout.write(f"{subject}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
