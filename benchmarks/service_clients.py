"""Clients of a service, many at once, in a process of their own so that what they burn can be told apart.

``python -m benchmarks.service_clients PLAN`` takes a :class:`Plan` as JSON and prints :class:`Calls` as JSON.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from benchmarks.history import ROOT, NotRunError
from benchmarks.service_office import FINGER
from biometrik.client import AsyncClient
from biometrik.errors import BiometrikError, QueueFullError
from biometrik.finger_imaging import read_print
from biometrik.fingers import FingerprintImage
from biometrik.types import EnrollmentOutcome, FaceImage, Outcome

T = TypeVar("T")

OK: Final = "ok"
REFUSED: Final = QueueFullError.reason
#: What an office does all day, as shares.
MIX: Final[Mapping[str, float]] = {"verify": 0.6, "identify": 0.15, "enroll": 0.1, "quality": 0.1, "list": 0.05}
#: The same with fingers.
PRINT_MIX: Final[Mapping[str, float]] = {"verify print": 0.7, "identify print": 0.15, "enroll print": 0.15}
#: Calls before the clock runs: connections are made, the server's paths are warm.
_WARM_UP_CALLS: Final = 16
#: Beyond its plan a run may take this long: to start, and for the last answers.
_SPARE_S: Final = 90.0
_LISTED: Final = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """Who calls what, and how often.

    Parameters
    ----------
    address : str
        Of the service.
    photographs : str
        Folder of JPEG files.
    claims : tuple of str
        Subjects that any of the photographs is a match for.
    mix : mapping of str to float
        Shares of what :data:`MIX` and :data:`PRINT_MIX` name.
    clients : int
        Connections, each with calls of its own.
    seconds : float
        How long calls are made.
    rate : float
        Calls a second of an open loop: they come when they come (Poisson), answered or not. 0 for a closed loop, in
        which each client waits for its answer and calls again.
    seed : int
        Of arrivals and choices; enrolled subjects bear it too.
    rest_s : float
        Mean of the exponential pause that a client of a closed loop makes before each call: a counter between two
        people.
    """

    address: str
    photographs: str
    claims: tuple[str, ...]
    mix: Mapping[str, float]
    clients: int
    seconds: float
    rate: float = 0.0
    seed: int = 0
    rest_s: float = 0.0
    prints: str = ""


@dataclass(frozen=True, slots=True)
class Calls:
    """What became of the calls, one entry each in the order in which they ended.

    Parameters
    ----------
    kind : list of str
        Of :data:`MIX` or :data:`PRINT_MIX`.
    due_s : list of float
        When it was due, from the start. In an open loop waiting begins here, whenever the call got away.
    ms : list of float
        Until its answer, from when it was due.
    outcome : list of str
        :data:`OK`; the reason of the error; or ``WRONG_ANSWER`` for one that is not true.
    acknowledged : list of str
        Subjects whose enrolment was.
    wall_s, cpu_s : float
        Until the last answer, and the clients' own processor time in it.
    """

    kind: list[str]
    due_s: list[float]
    ms: list[float]
    outcome: list[str]
    acknowledged: list[str]
    wall_s: float
    cpu_s: float

    @property
    def answered(self) -> int:
        """Calls with the answer that was expected."""
        return self.outcome.count(OK)

    @property
    def errors(self) -> dict[str, int]:
        """Reasons of all others, and how often each."""
        return {reason: self.outcome.count(reason) for reason in sorted({*self.outcome} - {OK})}

    def times(self, outcome: str = OK, kind: str | None = None) -> list[float]:
        """Return the milliseconds of calls that ended so, of one kind or all."""
        rows = zip(self.kind, self.ms, self.outcome, strict=True)
        return [ms for k, ms, o in rows if o == outcome and kind in (None, k)]


def made(plan: Plan) -> Calls:
    """Run a plan in a new process and return what became of its calls.

    Raises
    ------
    NotRunError
        The process failed or did not end.
    """
    command = [sys.executable, "-m", "benchmarks.service_clients", json.dumps(asdict(plan))]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=plan.seconds + _SPARE_S,
        )
    except subprocess.TimeoutExpired as late:
        raise NotRunError(f"clients: expected to end within {late.timeout:g} s, did not") from None
    if done.returncode:
        raise NotRunError(f"clients: {(done.stderr.strip().splitlines() or ['ended without a word'])[-1]}")
    return Calls(**json.loads(done.stdout))


def complete(calls: Calls) -> Calls:
    """Return calls that all had the answer that was expected; raises NotRunError where some had not."""
    if calls.errors or not calls.kind:
        raise NotRunError(f"calls: expected all {len(calls.kind)} to be answered, got {calls.errors or 'none'}")
    return calls


async def call(plan: Plan) -> Calls:
    """Make a plan's calls from this process."""
    images = [FaceImage.from_file(path) for path in sorted(Path(plan.photographs).glob("*.jpg"))]
    async with _connected(plan) as clients:
        office = _Counter(plan, images, _prints(plan))
        await asyncio.gather(
            *(client.verify(plan.claims[0], [images[0]]) for client in clients[:_WARM_UP_CALLS]), return_exceptions=True
        )
        await (office.open_loop(clients) if plan.rate else office.closed_loop(clients))
    return office.calls()


def _prints(plan: Plan) -> list[tuple[str, FingerprintImage]]:
    # Whose, and the print.
    files = sorted(Path(plan.prints).glob("*.png")) if plan.prints else []
    return [(file.name.split(".")[0], read_print(file, position=FINGER)) for file in files]


@asynccontextmanager
async def _connected(plan: Plan) -> AsyncIterator[Sequence[AsyncClient]]:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(AsyncClient(plan.address)) for _ in range(plan.clients)]
        for client in clients:
            await client.wait_until_ready()
        yield clients


class _Counter:
    # One run: what is called next, and what became of what was called.

    def __init__(
        self, plan: Plan, images: Sequence[FaceImage], prints: Sequence[tuple[str, FingerprintImage]] = ()
    ) -> None:
        self._plan = plan
        self._images = images
        self._prints = prints
        self._random = np.random.default_rng(plan.seed)
        self._kinds = list(plan.mix)
        self._shares = np.array(list(plan.mix.values())) / sum(plan.mix.values())
        self._rows: list[tuple[str, float, float, str]] = []
        self._acknowledged: list[str] = []
        self._enrolled = 0
        self._start = time.perf_counter()
        self._cpu = time.process_time()
        self._end = self._start

    async def closed_loop(self, clients: Sequence[AsyncClient]) -> None:
        self._begin()

        async def again(client: AsyncClient) -> None:
            while True:
                if self._plan.rest_s:
                    await asyncio.sleep(self._random.exponential(self._plan.rest_s))
                if (due := time.perf_counter()) >= self._start + self._plan.seconds:
                    return
                await self._one(client, due)

        await asyncio.gather(*(again(client) for client in clients))
        self._end = time.perf_counter()

    async def open_loop(self, clients: Sequence[AsyncClient]) -> None:
        self._begin()
        running: set[asyncio.Task[None]] = set()
        due, turn = self._start, 0
        while (due := due + self._random.exponential(1 / self._plan.rate)) < self._start + self._plan.seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(self._one(clients[turn % len(clients)], due))
            running.add(task)
            task.add_done_callback(running.discard)
            turn += 1
        await asyncio.gather(*running)
        self._end = time.perf_counter()

    def calls(self) -> Calls:
        kind, due_s, ms, outcome = (
            (list(column) for column in zip(*self._rows, strict=True)) if self._rows else ([],) * 4
        )
        return Calls(
            kind=kind,
            due_s=due_s,
            ms=ms,
            outcome=outcome,
            acknowledged=self._acknowledged,
            wall_s=self._end - self._start,
            cpu_s=time.process_time() - self._cpu,
        )

    def _begin(self) -> None:
        self._start, self._cpu = time.perf_counter(), time.process_time()

    async def _one(self, client: AsyncClient, due: float) -> None:
        kind = self._kinds[int(self._random.choice(len(self._kinds), p=self._shares))]
        try:
            outcome = OK if await self._asked(kind, client) else "WRONG_ANSWER"
        except BiometrikError as error:
            outcome = error.reason
        now = time.perf_counter()
        self._rows.append((kind, due - self._start, 1000 * (now - due), outcome))

    async def _asked(self, kind: str, client: AsyncClient) -> bool:
        # Whether the answer is true.
        image = self._one_of(self._images)
        match kind:
            case "verify":
                return (await client.verify(self._one_of(self._plan.claims), [image])).outcome is Outcome.MATCH
            case "identify":
                return bool((await client.identify([image], max_fpir=None)).candidates)
            case "enroll":
                return await self._is_enrolled(client, image)
            case "quality":
                return all(report.usable for report in await client.quality([image]))
            case "list":
                return len(await client.subjects(limit=_LISTED)) > 0
            case "verify print":
                claim, taken = self._one_of(self._prints)
                return (await client.verify(claim, [taken])).outcome is Outcome.MATCH
            case "identify print":
                _, taken = self._one_of(self._prints)
                return bool((await client.identify([taken], max_fpir=None)).candidates)
            case "enroll print":
                _, taken = self._one_of(self._prints)
                return await self._is_enrolled(client, taken)
            case _:
                raise ValueError(f"kind: expected one of {', '.join({**MIX, **PRINT_MIX})}, got {kind}")

    async def _is_enrolled(self, client: AsyncClient, image: FaceImage | FingerprintImage) -> bool:
        # A new subject, whose enrolment is remembered once it is acknowledged.
        self._enrolled += 1
        subject_id = f"new-{self._plan.seed:03}-{self._enrolled:06}"
        enrolled = (await client.enroll(subject_id, [image])).outcome is EnrollmentOutcome.ENROLLED
        if enrolled:
            self._acknowledged.append(subject_id)
        return enrolled

    def _one_of(self, choices: Sequence[T]) -> T:
        return choices[int(self._random.integers(len(choices)))]


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(call(Plan(**json.loads(sys.argv[1])))))))
