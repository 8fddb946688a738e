"""Enrolments that reach the service once, whenever it is there: kept first, then sent, removed when answered."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from biometrik import wire
from biometrik.client.calls import Operation
from biometrik.client.channels import Channel
from biometrik.client.operations import Operations, content
from biometrik.duplicates import DedupePolicy
from biometrik.errors import (
    BiometrikError,
    DatabaseLockedError,
    GalleryError,
    InvalidInputError,
    PayloadTooLargeError,
    StoreDamagedError,
    StoreUnavailableError,
    TemplateError,
)
from biometrik.samples import Sample
from biometrik.types import Enrollment, EnrollmentOutcome, MissingSample, RequestContext
from biometrik.v1 import enrollment_service_pb2 as pb
from biometrik_station.spool import DamagedEntryError, Spool

_log = logging.getLogger(__name__)

#: What is wrong with an enrolment, whatever is done with the service: it would be refused again.
_REFUSED: Final = (InvalidInputError, TemplateError, GalleryError, PayloadTooLargeError)
#: What is wrong with the service, although it is a GalleryError.
_OF_THE_SERVICE: Final = (StoreUnavailableError, StoreDamagedError, DatabaseLockedError)

#: Sends a request and returns the service's answer.
Send = Callable[[pb.EnrollRequest], Enrollment]


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What became of an entry.

    Parameters
    ----------
    name : str
        Of the entry.
    enrollment : Enrollment or None
        The service's answer; None where there was none.
    why : str
        Why it was set aside; "" where it was enrolled.
    """

    name: str
    enrollment: Enrollment | None
    why: str = ""


class Forwarder(Channel):
    """A line to the service over which kept enrolments are sent.

    Parameters
    ----------
    address : str or Connection
        ``host:port`` or ``unix:/path``; a Connection also says how to prove who calls, and how long an answer may take:
        the bytes of ten fingers and a face take half a minute at 64 kbit/s.
    """

    def send(self, request: pb.EnrollRequest) -> Enrollment:
        """Enrol; raises as :meth:`biometrik.client.Client.enroll`."""
        method = "/biometrik.v1.EnrollmentService/Enroll"
        return self._do(Operation(method, request, pb.EnrollResponse, wire.enrollment_from_wire))


def request_of(
    subject_id: str,
    samples: Sequence[Sample],
    *,
    missing: Sequence[MissingSample] = (),
    galleries: Sequence[str] | None = None,
    override: str = "",
    dedupe: DedupePolicy | None = None,
    context: RequestContext | None = None,
) -> pb.EnrollRequest:
    """Return an enrolment as it is kept and sent; arguments as of :meth:`biometrik.client.Client.enroll`.

    A transaction id is made where ``context`` has none.
    """
    operations = Operations("en")
    presented = operations.presentations(samples)
    for sample, message in zip(samples, presented, strict=True):
        if message.WhichOneof("kind") == "sample" and message.sample.WhichOneof("content") is None:
            message.sample.data = content(sample)
    request = operations.enroll(subject_id, presented, galleries, override, context, missing, dedupe).request
    assert isinstance(request, pb.EnrollRequest)
    return request


def enroll(spool: Spool, send: Send, request: pb.EnrollRequest) -> Enrollment | None:
    """Enrol now, or as soon as the service is there.

    Parameters
    ----------
    spool : Spool
        Where the enrolment is from before it is sent until it is answered.
    send : callable
        See :meth:`Forwarder.send`.
    request : EnrollRequest
        See :func:`request_of`.

    Returns
    -------
    Enrollment or None
        The answer, which may be that samples must be taken again; None where the service is away, full, or does not
        know the caller (the log says which): the enrolment is kept, and :func:`forward` sends it under the same
        transaction id.

    Raises
    ------
    BiometrikError
        The service refuses it: nothing is kept. Or it cannot be kept, see :meth:`Spool.keep`: nothing is sent.
    """
    name = spool.keep(request)
    try:
        answer = send(request)
    except BiometrikError as error:
        if _refuses(error):
            _removed(spool, name)
            raise
        _log.warning("kept: %s", error.reason)
        return None
    _removed(spool, name)
    return answer


def forward(spool: Spool, send: Send) -> Iterator[Forwarded]:
    """Send what waits, the oldest first, and yield what became of each.

    An entry that is damaged, that the service refuses, or whose samples it could not use, is set aside: somebody must
    look after that person. It does not hold up the others.

    Raises
    ------
    BiometrikError
        The service is away, full, or does not know the caller: this entry and those after it still wait.
    StoreUnavailableError
        The spool cannot be read or written.
    """
    for kept in spool.waiting():
        try:
            request = spool.read(kept.name)
        except DamagedEntryError as error:
            yield Forwarded(kept.name, None, str(error))
            continue
        if request is None:
            continue
        try:
            answer = send(request)
        except BiometrikError as error:
            if not _refuses(error):
                raise
            yield _set_aside(spool, kept.name, None, f"refused: {error.reason}")
            continue
        if answer.outcome is EnrollmentOutcome.ENROLLED:
            _removed(spool, kept.name)
            yield Forwarded(kept.name, answer)
        else:
            yield _set_aside(spool, kept.name, answer, f"not enrolled: {answer.outcome.value}")


def _refuses(error: BiometrikError) -> bool:
    return isinstance(error, _REFUSED) and not isinstance(error, _OF_THE_SERVICE)


def _removed(spool: Spool, name: str) -> None:
    try:
        spool.remove(name)
    except StoreUnavailableError as error:  # the answer counts; the repeat, under the same transaction id, is harmless
        _log.warning("answered, but still kept: %s", error)


def _set_aside(spool: Spool, name: str, answer: Enrollment | None, why: str) -> Forwarded:
    spool.set_aside(name, why)
    return Forwarded(name, answer, why)
