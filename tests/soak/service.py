"""The service under hostile requests and sudden death, for as long as wanted; ``scripts/soak`` and tests call it."""

import asyncio
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import grpc
from google.protobuf import message_factory
from google.rpc import error_details_pb2, status_pb2

from biometrik.client import Client
from biometrik.errors import BiometrikError, ServiceError
from biometrik.types import EnrollmentOutcome, Outcome, RequestContext, Template
from tests.soak.message_fuzz import Request, RequestFuzz
from tests.soak.server_process import ServerProcess, random_template

#: What a server may hold more after hostile requests than before.
ALLOWED_GROWTH_BYTES: Final = 64 << 20
_IN_FLIGHT: Final = 24
_CALL_S: Final = 60.0
#: Codes that say that the server did not cope, whatever was sent.
_NEVER: Final = frozenset({grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS})


@dataclass(frozen=True, slots=True)
class Failure:
    """A request, or a round, that the server did not cope with.

    Parameters
    ----------
    index : int
        Which; ``run(1, seed, start=index)`` is the same again.
    target : str
        The RPC, or what was looked at.
    what : str
        What was wrong.
    """

    index: int
    target: str
    what: str


@dataclass(slots=True)
class FuzzReport:
    """What came of many requests.

    Parameters
    ----------
    failures : list of Failure
        Those that were not answered as they must be.
    answers : Counter
        How often each gRPC code, and reason, was the answer.
    """

    failures: list[Failure] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)


def fuzz(address: str, fuzzer: RequestFuzz, count: int, start: int = 0) -> FuzzReport:
    """Send requests to a server, many at once, and judge every answer.

    An answer is either OK with a message that can be parsed, or a status with google.rpc.ErrorInfo of our domain. It
    is never UNKNOWN, INTERNAL or DATA_LOSS, nor a failure to answer.

    Parameters
    ----------
    address : str
        Of the server, without TLS and tokens.
    fuzzer : RequestFuzz
        Makes the requests.
    count, start : int
        How many, from which index.
    """
    return asyncio.run(_fuzz(address, fuzzer, range(start, start + count)))


async def _fuzz(address: str, fuzzer: RequestFuzz, indices: range) -> FuzzReport:
    report, room = FuzzReport(), asyncio.Semaphore(_IN_FLIGHT)
    options = [("grpc.enable_retries", 0)]

    async def one(channel: grpc.aio.Channel, streams: grpc.Channel, request: Request) -> None:
        async with room:
            if request.method.client_streaming:
                answer, fault = await asyncio.to_thread(_streamed, streams, request)
            else:
                answer, fault = await _asked(channel, request)
        report.answers[answer] += 1
        if fault:
            report.failures.append(Failure(request.index, request.path, fault))

    # Streams go through the blocking API: a stream that is answered before all of it was sent sometimes looks like an
    # INTERNAL of the server in grpc.aio's client.
    with grpc.insecure_channel(address, options) as streams:
        async with grpc.aio.insecure_channel(address, options) as channel:
            for first in range(indices.start, indices.stop, 1000):
                few = range(first, min(first + 1000, indices.stop))
                await asyncio.gather(*(one(channel, streams, fuzzer.request(index)) for index in few))
    return report


async def _asked(channel: grpc.aio.Channel, request: Request) -> tuple[str, str]:
    # The code and reason of the answer, and what is wrong with it.
    call: Any = channel.unary_unary(request.path, response_deserializer=_reader(request))
    try:
        await call(request.messages[0], timeout=_CALL_S)
    except grpc.aio.AioRpcError as error:
        return _judged(error)
    return "OK", ""


def _streamed(channel: grpc.Channel, request: Request) -> tuple[str, str]:
    many = request.method.server_streaming
    call: Any = (channel.stream_stream if many else channel.stream_unary)(
        request.path, response_deserializer=_reader(request)
    )
    try:
        answered = call(iter(request.messages), timeout=_CALL_S)
        answers = list(answered) if many else []
    except grpc.RpcError as error:
        return _judged(error)
    for answer in answers:
        if answer.WhichOneof("result") == "error":
            code = next(code for code in grpc.StatusCode if code.value[0] == answer.error.code)
            if code in _NEVER or not answer.error.reason:
                return code.name, f"in the stream: {code.name} {answer.error.reason}"
    return "OK", ""


def _reader(request: Request) -> Any:
    return message_factory.GetMessageClass(request.method.output_type).FromString


def _judged(error: Any) -> tuple[str, str]:
    # What blocking and asynchronous calls raise has the same three methods, under no common type.
    code, details = error.code(), str(error.details())
    raw = next((value for key, value in error.trailing_metadata() or () if key == "grpc-status-details-bin"), b"")
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(raw).details:
        detail.Unpack(info)
    answer = f"{code.name} {info.reason}".strip()
    if code in _NEVER:
        return answer, f"{answer}: {details[:200]}"
    if info.domain != "biometrik" or not info.reason:
        return answer, f"{answer} without ErrorInfo: {details[:200]}"
    return answer, ""


# --- sudden death ----------------------------------------------------------------------------------------------

_WORKERS: Final = 8
_LOOKED_AT_AGAIN: Final = 100


@dataclass(slots=True)
class Office:
    """What clients know of a server that was killed again and again.

    Parameters
    ----------
    folder : Path
        With its database.
    acknowledged : dict of str to str
        Subject → encounter that the client was told of.
    unanswered : set of str
        Subjects whose enrolment was asked for, without an answer.
    """

    folder: Path
    acknowledged: dict[str, str] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)


def kill_round(office: Office, index: int, rng: random.Random) -> list[Failure]:
    """Let eight clients enrol, kill the server at a random moment, start it again and look at what is there.

    Parameters
    ----------
    office : Office
        What is known from earlier rounds; this one adds to it.
    index : int
        Number of the round; names its subjects.
    rng : random.Random
        When to kill, and at whom of earlier rounds to look again.
    """
    with ServerProcess(office.folder) as server:
        _enrol_until_killed(office, server, index, rng.uniform(0.0, 0.2))
    with ServerProcess(office.folder) as server, server.client() as client:
        failures = _faults(office, server, client, index, rng)
        if server.stop() != 0:
            failures.append(Failure(index, "stop", "the restarted server did not end cleanly"))
    return failures


def _enrol_until_killed(office: Office, server: ServerProcess, index: int, delay_s: float) -> None:
    first = threading.Event()

    def work(worker: int, client: Client) -> None:
        for number in range(1_000_000):
            subject = f"{index}-{worker}-{number}"
            office.unanswered.add(subject)
            try:
                encounter = _enrolled(client, subject, server.model_contract_id)
            except ServiceError:
                return
            office.acknowledged[subject] = encounter
            office.unanswered.discard(subject)
            first.set()

    clients = [server.client() for _ in range(_WORKERS)]
    threads = [threading.Thread(target=work, args=row) for row in enumerate(clients)]
    for thread in threads:
        thread.start()
    first.wait(_CALL_S)
    threading.Event().wait(delay_s)
    server.send(signal.SIGKILL)
    server.wait()
    for thread in threads:
        thread.join(_CALL_S)
    for client in clients:
        client.close()


def _enrolled(client: Client, subject: str, model_contract_id: str) -> str:
    # The transaction id is the subject's: a repeat is the same request.
    context = RequestContext(transaction_id=f"t-{subject}")
    enrollment = client.enroll(subject, [_template(subject, model_contract_id)], context=context)
    assert enrollment.outcome is EnrollmentOutcome.ENROLLED
    return enrollment.encounter_id


def _template(subject: str, model_contract_id: str) -> Template:
    return random_template(subject, model_contract_id)


def _faults(office: Office, server: ServerProcess, client: Client, index: int, rng: random.Random) -> list[Failure]:
    # All of this round are looked at, and some of those before.
    faults = []
    known = sorted(office.acknowledged)
    fresh = [subject for subject in known if subject.startswith(f"{index}-")]
    for subject in {*fresh, *rng.sample(known, min(len(known), _LOOKED_AT_AGAIN))}:
        faults += _faults_of(server, client, subject, office.acknowledged[subject], index)
    mine = sorted(subject for subject in office.unanswered if subject.startswith(f"{index}-"))
    for subject in mine:  # the client asks again: it gets the encounter that is there, or a new one, once
        encounter = _enrolled(client, subject, server.model_contract_id)
        faults += _faults_of(server, client, subject, encounter, index)
        office.acknowledged[subject] = encounter
        office.unanswered.discard(subject)
    if not fresh:
        faults.append(Failure(index, "round", "nothing was acknowledged before the server was killed"))
    return faults


def _faults_of(server: ServerProcess, client: Client, subject: str, encounter: str, index: int) -> list[Failure]:
    contract = server.model_contract_id
    try:
        stored = client.subject(subject)
        if [row.encounter_id for row in stored.encounters] != [encounter]:
            return [Failure(index, "stored", f"{len(stored.encounters)} encounters, not the acknowledged one alone")]
        found = client.identify([_template(subject, contract)], max_fpir=None, max_candidates=1).candidates
        if [(row.subject_id, row.encounter_id) for row in found] != [(subject, encounter)]:
            return [Failure(index, "searched", "what was acknowledged is not found")]
        if _enrolled(client, subject, contract) != encounter:
            return [Failure(index, "repeated", "a repeated transaction got another encounter")]
    except BiometrikError as error:
        return [Failure(index, "acknowledged", f"{error.reason}: {error}")]
    return []


# --- for scripts/soak ------------------------------------------------------------------------------------------

#: Runs ``count`` of something from index ``start`` with a seed, and returns what failed.
Run = Callable[[int, int, int], Sequence[Failure]]


@contextmanager
def fuzzing() -> Iterator[Run]:
    """Yield what sends hostile requests to one server that runs all the while, and looks after its health."""
    with TemporaryDirectory() as folder, ServerProcess(Path(folder)) as server:
        held: list[int] = []

        def run(count: int, seed: int, start: int) -> Sequence[Failure]:
            fuzzer = RequestFuzz(seed, server.model_contract_id)
            failures = fuzz(server.address, fuzzer, count, start).failures
            held.append(server.memory_bytes())
            grown = held[-1] - held[0]
            if grown > ALLOWED_GROWTH_BYTES:
                failures.append(Failure(start, "memory", f"grew by {grown >> 20} MiB since the first requests"))
            with server.client() as client:
                template = random_template("after", server.model_contract_id)
                client.enroll("after", [template])
                if client.verify("after", [template]).outcome is not Outcome.MATCH:
                    failures.append(Failure(start, "verify", "an ordinary verification failed"))
            return failures

        yield run


@contextmanager
def killing() -> Iterator[Run]:
    """Yield what kills a server in rounds, over one database that grows."""
    with TemporaryDirectory() as folder:
        office = Office(Path(folder))

        def run(count: int, seed: int, start: int) -> Sequence[Failure]:
            return [
                failure
                for index in range(start, start + count)
                for failure in kill_round(office, index, random.Random(f"{seed}:{index}"))
            ]

        yield run
