"""Verifications, uploads and forwarded enrolments over a line of 64 kbit/s with 2 s latency and 5 % loss.

Service and counter are in two network namespaces, and real TCP and TLS go over packets that are slow, late and lost.
Where this user may not make namespaces, a proxy stands for the line, and the record says so.
"""

import hashlib
import multiprocessing
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from rich.console import Console

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
from tests.e2e.identities import Identity
from tests.soak.namespaces import Namespace, PacketLine, carried_bytes
from tests.soak.proxy_line import ProxyLine
from tests.soak.server_process import ServerProcess

_WEAK: Final = {"bytes_per_s": 64_000 / 8, "one_way_s": 1.0, "loss": 0.05}
#: How long a packet may wait before the line: two round trips, so that a sender who hurries finds the queue full.
_QUEUE_S: Final = 4.0
#: Deadlines of a verification and of an enrolment of a face and ten fingers. At this rate their 58 and 228 kB are 7 and
#: 29 s; TCP, which takes each loss for a jam, gets half of the rate or less, and waits 3 s and more after some losses.
_VERIFY_S: Final = 60.0
_ENROL_S: Final = 240.0
_PORT: Final = 50_051
_TOKEN: Final = "counter-token-that-nobody-guesses"


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that did not end in time, or with the wrong answer."""

    index: int
    target: str
    what: str


@dataclass(frozen=True, slots=True)
class Act:
    """What one act took.

    Parameters
    ----------
    what : str
        Which.
    carried_bytes : int
        Over the line, both ways, repeated packets and TCP's own headers included where there are packets.
    seconds : float
        Until its answer.
    """

    what: str
    carried_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter at the near end of the line; goes to the process where it is.

    Parameters
    ----------
    folder : Path
        Its spool, and the authority's certificate.
    person : list
        A face and ten fingers, compact.
    stranger : Sample
        A finger of another.
    good : str
        ``host:port`` of the service over a line that disturbs nothing.
    """

    folder: Path
    person: list[Sample]
    stranger: Sample
    good: str

    def connection(self, address: str, timeout_s: float = _VERIFY_S) -> Connection:
        """Return a connection to the service."""
        root = self.folder / "office-ca.pem"
        return Connection(address, _TOKEN, root_certificate=root, server_name="127.0.0.1", timeout_s=timeout_s)


@dataclass(slots=True)
class _Acts:
    # Acts of a round, and what they should come to.
    index: int
    carried: Callable[[], int]
    failures: list[Failure] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)

    def expect(self, what: str, wanted: object, act: Callable[[], object]) -> None:
        began, before = time.monotonic(), self.carried()
        try:
            found = act()
        except Exception as error:  # whatever it is, it is what this looks for
            found = f"{type(error).__name__}: {error}"
        self.acts.append(Act(what, self.carried() - before, time.monotonic() - began))
        if found != wanted:
            self.failures.append(Failure(self.index, what, f"expected {wanted}, got {found}"))


class Rounds:
    """Runs rounds, and remembers what each act took.

    Parameters
    ----------
    line : str
        What stands for the line.
    one : callable
        Runs the round of an index with a seed.
    """

    def __init__(self, line: str, one: Callable[[int, int], _Acts]) -> None:
        self._line, self._one = line, one
        self._acts: defaultdict[str, list[Act]] = defaultdict(list)

    def __call__(self, count: int, seed: int, start: int) -> list[Failure]:
        """Return what failed of ``count`` rounds."""
        failures = []
        for index in range(start, start + count):
            done = self._one(index, seed)
            failures += done.failures
            for act in done.acts:
                self._acts[act.what].append(act)
        return failures

    @property
    def figures(self) -> Mapping[str, Any]:
        """What the acts took until now: median and greatest of bytes and seconds."""
        return {
            "line": self._line,
            "acts": {
                what: {
                    "bytes": _median_and_greatest([act.carried_bytes for act in acts]),
                    "seconds": _median_and_greatest([round(act.seconds, 1) for act in acts]),
                }
                for what, acts in self._acts.items()
            },
        }


@dataclass(frozen=True, slots=True)
class _Line:
    # What stands for the line; how to call at its near end, and where the service is over a good line; one round.
    what: str
    call: Callable[..., Any]
    good: str
    round: Callable[[Counter, int, int], _Acts]


@contextmanager
def opened() -> Iterator[Rounds]:
    """Yield what runs rounds against a service in which one person is enrolled."""
    recognition = Recognition(EngineConfig())
    portrait = _portrait()
    person = [compact(portrait, recognition.prepare([portrait])[0].report.face), *_prints(1, 10)]
    (stranger,) = _prints(2, 1)
    with tempfile.TemporaryDirectory() as name, _line(Path(name)) as line:
        counter = Counter(Path(name), person, stranger, line.good)
        line.call(_enrol_first, counter, [portrait, *_prints(1, 1, impression=1)])
        yield Rounds(line.what, partial(line.round, counter))


@contextmanager
def _line(folder: Path) -> Iterator[_Line]:
    try:
        with Namespace() as near, Namespace() as far, _good_line(near, far):
            make = _between_namespaces
    except OSError as error:
        Console(stderr=True).print(f"no network namespaces here ({error.strerror}): a proxy stands for the line")
        make = _behind_proxies
    with make(folder) as line:
        yield line


@contextmanager
def _between_namespaces(folder: Path) -> Iterator[_Line]:
    with (
        Namespace() as near,
        Namespace() as far,
        _good_line(near, far) as good,
        far.call(partial(_server, folder, f"0.0.0.0:{_PORT}")),
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as counters,
    ):
        near.call(lambda: counters.submit(time.monotonic)).result()  # the process begins at this end, and stays

        def run(counter: Counter, index: int, seed: int) -> _Acts:
            rng = random.Random(f"{seed} {index}")
            with PacketLine(near, far, name="weak", subnet="10.64.2", rng=rng, queue_s=_QUEUE_S, **_WEAK) as weak:
                address = f"{weak.far_address}:{_PORT}"
                return counters.submit(_round, counter, index, address, partial(carried_bytes, "weak")).result()

        yield _Line(
            "namespaces",
            lambda act, *given: counters.submit(act, *given).result(),
            f"{good.far_address}:{_PORT}",
            run,
        )


def _good_line(near: Namespace, far: Namespace) -> PacketLine:
    # One that disturbs nothing, to set up and to look afterwards.
    rng = random.Random(0)
    return PacketLine(
        near, far, name="good", subnet="10.64.1", rng=rng, bytes_per_s=1e9, one_way_s=0.0, loss=0.0, queue_s=1.0
    )


@contextmanager
def _behind_proxies(folder: Path) -> Iterator[_Line]:
    with _server(folder, "127.0.0.1:0") as server:

        def run(counter: Counter, index: int, seed: int) -> _Acts:
            with ProxyLine(server.address, random.Random(f"{seed} {index}"), **_WEAK) as weak:
                return _round(counter, index, weak.address, lambda: weak.carried_bytes)

        yield _Line("proxy", lambda act, *given: act(*given), server.address, run)


def _server(folder: Path, listen: str) -> ServerProcess:
    identity = Identity.authority("office-ca", folder).issue("service")
    settings = (
        f"[tls]\ncertificate = '{identity.pem}'\nkey = '{identity.key_pem}'\n"
        "[[clients]]\nname = 'counter'\nscopes = ['enroll', 'verify', 'gallery.read']\n"
        f"token_sha256 = '{hashlib.sha256(_TOKEN.encode()).hexdigest()}'\n"
    )
    return ServerProcess(folder, settings, listen=listen)


# --- at the near end ---------------------------------------------------------------------------------------------


def _enrol_first(counter: Counter, samples: list[Sample]) -> None:
    with Client(counter.connection(counter.good)) as client:
        client.enroll("A", samples)


def _round(counter: Counter, index: int, weak: str, carried: Callable[[], int]) -> _Acts:
    acts = _Acts(index, carried)
    face, finger = counter.person[:2]
    # The connection's opening included.
    with Client(counter.connection(weak)) as client:
        acts.expect("face and finger", Outcome.MATCH, lambda: client.verify("A", [face, finger]).outcome)
        acts.expect("finger", Outcome.MATCH, lambda: client.verify("A", [finger]).outcome)
        acts.expect("a stranger", Outcome.NO_MATCH, lambda: client.verify("A", [counter.stranger]).outcome)
    with Client(counter.connection(weak, _ENROL_S)) as client, _pieces_of(16 << 10, 0):
        acts.expect("in pieces", Outcome.MATCH, lambda: client.verify("A", [face]).outcome)

    key = counter.folder / "key"
    key.touch(0o600)
    key.write_text("5f" * 32)
    spool, name = Spool(counter.folder / "spool", key), f"B-{index}"
    with Forwarder(counter.connection(weak, 3.0)) as impatient:
        request = request_of(name, counter.person)
        acts.expect("too little time", None, lambda: enroll(spool, impatient.send, request))
    with Forwarder(counter.connection(weak, _ENROL_S)) as patient:
        done = [EnrollmentOutcome.ENROLLED]
        acts.expect(
            "enrolment forwarded",
            done,
            lambda: [row.enrollment and row.enrollment.outcome for row in forward(spool, patient.send)],
        )
    with Client(counter.connection(counter.good)) as near:
        acts.expect("once", 1, lambda: len(near.subject(name).encounters))
    return acts


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
    fingers = [FingerPosition(1 + position % 10) for position in range(1, 1 + count)]  # the right index first
    return [compact(draw_impression(draw_finger(seed, finger), impression).image) for finger in fingers]


def _median_and_greatest(values: list[float]) -> list[float]:
    return [statistics.median(values), max(values)]
