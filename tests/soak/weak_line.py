"""Verifications, uploads and forwarded enrolments over a line of 64 kbit/s with 2 s latency and 5 % loss.

The line is a proxy in this process, not the kernel's ``netem``, so that it is the same on every machine: it hands on
what TCP would. A segment that is lost arrives a round trip later, and all behind it waits for it.
"""

import asyncio
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from unittest.mock import patch

from biometrik.client import Client, Connection
from biometrik.config import EngineConfig
from biometrik.fingers import FingerPosition
from biometrik.recognition import Recognition
from biometrik.samples import Sample
from biometrik.synthetic.fingerprints import draw_finger
from biometrik.synthetic.impressions import draw_impression
from biometrik.transport import compact
from biometrik.types import EnrollmentOutcome, FaceImage, Outcome
from biometrik_station.forwarding import Forwarder, enroll, forward, request_of
from biometrik_station.spool import Spool
from tests.soak.server_process import ServerProcess

_BYTES_PER_S: Final = 64_000 / 8
_ONE_WAY_S: Final = 1.0
_LOSS: Final = 0.05
#: What an Ethernet carries of TCP in one segment.
_SEGMENT: Final = 1460
#: Segments that wait in the sender, as in a socket's buffer.
_BUFFERED: Final = 64
#: Deadline of an enrolment of a face and four fingers: 115 kB are 15 s at this rate, and losses cost seconds each.
_ENROL_S: Final = 60.0


class WeakLine:
    """A proxy before a service, as slow and lossy as is said; use it as a context manager.

    Parameters
    ----------
    target : str
        ``host:port`` of the service.
    rng : random.Random
        What is lost.
    bytes_per_s, one_way_s, loss : float
        Of the line, each way.
    """

    def __init__(
        self,
        target: str,
        rng: random.Random,
        *,
        bytes_per_s: float = _BYTES_PER_S,
        one_way_s: float = _ONE_WAY_S,
        loss: float = _LOSS,
    ) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._rng, self._bytes_per_s, self._one_way_s, self._loss = rng, bytes_per_s, one_way_s, loss
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="weak line")
        self.carried_bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        opening = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._accept, "127.0.0.1", 0), self._loop)
        self._server = opening.result()
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self, near: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * self._one_way_s)  # TCP's greeting
        far, far_out = await asyncio.open_connection(self._host, self._port)
        try:
            await asyncio.gather(self._carry(near, far_out), self._carry(far, near_out))
        except (OSError, asyncio.CancelledError):
            return  # either side has gone, or the line is taken down
        finally:
            near_out.close()
            far_out.close()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_BUFFERED)
        delivering = asyncio.create_task(self._deliver(way, sink))
        free_at = due = 0.0
        try:
            while data := await source.read(_SEGMENT):
                lost = self._rng.random() < self._loss
                free_at = max(free_at, time.monotonic()) + (1 + lost) * len(data) / self._bytes_per_s
                due = max(due, free_at + self._one_way_s + lost * 2 * self._one_way_s)
                self.carried_bytes += len(data)
                await way.put((due, data))
                await asyncio.sleep(max(0.0, free_at - time.monotonic()))
            await way.put((due, b""))
            await delivering
        finally:
            delivering.cancel()

    async def _deliver(self, way: "asyncio.Queue[tuple[float, bytes]]", sink: asyncio.StreamWriter) -> None:
        while True:
            due, data = await way.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if not data:
                sink.write_eof()
                return
            sink.write(data)
            await sink.drain()


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that did not end in time, or with the wrong answer."""

    index: int
    target: str
    what: str


@contextmanager
def opened() -> Iterator[Callable[[int, int, int], list[Failure]]]:
    """Yield what runs rounds against a service in which one person is enrolled."""
    recognition = Recognition(EngineConfig())
    portrait = _portrait()
    small = compact(portrait, recognition.prepare([portrait])[0].report.face)
    person = [small, *_prints(1, 4)]
    with tempfile.TemporaryDirectory() as name, ServerProcess(Path(name)) as server:
        with server.client() as client:
            client.enroll("A", [portrait, *_prints(1, 1, impression=1)])

        def run(count: int, seed: int, start: int) -> list[Failure]:
            rounds = range(start, start + count)
            return [found for index in rounds for found in _round(index, seed, server, Path(name), person)]

        yield run


def _round(index: int, seed: int, server: ServerProcess, folder: Path, person: list[Sample]) -> list[Failure]:
    failures: list[Failure] = []
    face, finger = person[:2]
    (stranger,) = _prints(2, 1)
    with WeakLine(server.address, random.Random(f"{seed} {index}")) as line:

        def expect(what: str, wanted: object, act: Callable[[], object]) -> None:
            try:
                found = act()
            except Exception as error:  # whatever it is, it is what this looks for
                found = f"{type(error).__name__}: {error}"
            if found != wanted:
                failures.append(Failure(index, what, f"expected {wanted}, got {found}"))

        # Within a client's usual deadline, its first connection included.
        with Client(Connection(line.address)) as counter:
            expect("face and finger", Outcome.MATCH, lambda: counter.verify("A", [face, finger]).outcome)
            expect("a stranger", Outcome.NO_MATCH, lambda: counter.verify("A", [stranger]).outcome)
        with Client(Connection(line.address, timeout_s=_ENROL_S)) as counter, _pieces_of(16 << 10, 0):
            expect("in pieces", Outcome.MATCH, lambda: counter.verify("A", [face]).outcome)

        key = folder / "key"
        key.touch(0o600)
        key.write_text("5f" * 32)
        spool, name = Spool(folder / "spool", key), f"B-{index}"
        with Forwarder(Connection(line.address, timeout_s=3.0)) as impatient:
            request = request_of(name, person)
            expect("too little time", None, lambda: enroll(spool, impatient.send, request))
        with Forwarder(Connection(line.address, timeout_s=_ENROL_S)) as patient:
            done = [EnrollmentOutcome.ENROLLED]
            expect(
                "forwarded",
                done,
                lambda: [row.enrollment and row.enrollment.outcome for row in forward(spool, patient.send)],
            )
    with server.client() as near:
        expect("once", 1, lambda: len(near.subject(name).encounters))
    return failures


@contextmanager
def _pieces_of(length: int, threshold: int) -> Iterator[None]:
    # The client uploads samples of 4 MiB and more, in pieces of 256 KiB: over this line that takes nine minutes.
    pieces = patch("biometrik.client.synchronous.CHUNK_BYTES", length)
    with pieces, patch("biometrik.client.operations.UPLOAD_BYTES", threshold):
        yield


def _portrait() -> FaceImage:
    spec = find_spec("skimage")
    assert spec is not None
    assert spec.submodule_search_locations
    return FaceImage.from_file(Path(spec.submodule_search_locations[0]) / "data" / "astronaut.png")


def _prints(seed: int, count: int, impression: int = 0) -> list[Sample]:
    fingers = (FingerPosition(position) for position in range(2, 2 + count))
    return [compact(draw_impression(draw_finger(seed, finger), impression).image) for finger in fingers]
