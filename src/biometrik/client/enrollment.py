"""An enrolment that is collected sample by sample, from Python; see OpenSession in the contract."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from biometrik import wire
from biometrik.client.calls import CallBuilder, Operation
from biometrik.client.operations import Operations, Presentations, dedupe_message
from biometrik.duplicates import DedupePolicy
from biometrik.types import Enrollment, MissingSample, RequestContext, Trait
from biometrik.v1 import enrollment_service_pb2 as pb
from biometrik.verdicts import OverrideKind, Submitted, TraitState

_SERVICE: Final = "/biometrik.v1.EnrollmentService"


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """An enrolment that is being collected.

    Parameters
    ----------
    session_id : str
        Names it.
    traits : tuple of TraitState
        Every trait, in the order asked for.
    """

    session_id: str
    traits: tuple[TraitState, ...]


@dataclass(frozen=True, slots=True)
class Finalized:
    """What became of an enrolment.

    Parameters
    ----------
    enrollment : Enrollment
        Only ``ENROLLED`` stored something; otherwise the session goes on.
    traits : tuple of TraitState
        Every trait, in the order asked for.
    """

    enrollment: Enrollment
    traits: tuple[TraitState, ...]


class SessionOperations(CallBuilder):
    """Builds the calls of a session; the two clients share it."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def open(
        self,
        subject_id: str,
        wanted: Sequence[Trait],
        galleries: Sequence[str] | None,
        context: RequestContext | None,
        dedupe: DedupePolicy | None = None,
    ) -> Operation[OpenedSession]:
        """OpenSession."""
        request = pb.OpenSessionRequest(
            context=self._operations.writing(context),
            subject_id=subject_id,
            wanted=[wire.trait_to_wire(trait) for trait in wanted],
            dedupe=dedupe_message(dedupe),
        )
        if galleries is None:
            request.default_gallery = True
        else:
            request.galleries.CopyFrom(pb.GalleryNames(names=galleries))
        return self._call(
            "OpenSession", request, pb.OpenSessionResponse, lambda a: OpenedSession(a.session_id, _states(a))
        )

    def submit(self, session_id: str, presented: Presentations, context: RequestContext | None) -> Operation[Submitted]:
        """SubmitSample."""
        (presentation,) = presented
        request = pb.SubmitSampleRequest(
            context=self._operations.writing(context), session_id=session_id, sample=presentation.sample
        )
        return self._call("SubmitSample", request, pb.SubmitSampleResponse, wire.submitted_from_wire)

    def mark_missing(
        self, session_id: str, missing: MissingSample, context: RequestContext | None
    ) -> Operation[tuple[TraitState, ...]]:
        """MarkMissing."""
        request = pb.MarkMissingRequest(
            context=self._operations.writing(context), session_id=session_id, missing=wire.missing_to_wire(missing)
        )
        return self._call("MarkMissing", request, pb.MarkMissingResponse, _states)

    def override(
        self, session_id: str, trait: Trait, kind: OverrideKind, reason: str, context: RequestContext | None
    ) -> Operation[tuple[TraitState, ...]]:
        """Override."""
        request = pb.OverrideRequest(
            context=self._operations.writing(context),
            session_id=session_id,
            trait=wire.trait_to_wire(trait),
            kind=wire.OVERRIDES.to_wire(kind),
            reason=reason,
        )
        return self._call("Override", request, pb.OverrideResponse, _states)

    def override_duplicates(
        self, session_id: str, reason: str, context: RequestContext | None
    ) -> Operation[tuple[TraitState, ...]]:
        """Override, of the suspects."""
        request = pb.OverrideRequest(
            context=self._operations.writing(context),
            session_id=session_id,
            kind=pb.OVERRIDE_KIND_DUPLICATE,
            reason=reason,
        )
        return self._call("Override", request, pb.OverrideResponse, _states)

    def restart(
        self, session_id: str, trait: Trait, context: RequestContext | None
    ) -> Operation[tuple[TraitState, ...]]:
        """RestartTrait."""
        request = pb.RestartTraitRequest(
            context=self._operations.writing(context), session_id=session_id, trait=wire.trait_to_wire(trait)
        )
        return self._call("RestartTrait", request, pb.RestartTraitResponse, _states)

    def finalize(self, session_id: str, override: str, context: RequestContext | None) -> Operation[Finalized]:
        """Finalize."""
        request = pb.FinalizeRequest(
            context=self._operations.writing(context), session_id=session_id, override_reason=override
        )
        return self._call(
            "Finalize",
            request,
            pb.FinalizeResponse,
            lambda a: Finalized(wire.enrollment_from_wire(a.enrollment), _states(a)),
        )

    def cancel(self, session_id: str) -> Operation[None]:
        """CancelSession."""
        request = pb.CancelSessionRequest(context=self._operations.context(), session_id=session_id)
        return self._call("CancelSession", request, pb.CancelSessionResponse, lambda _: None)

    @staticmethod
    def _call(method: str, request: Any, response: Any, read: Any) -> Operation[Any]:
        return Operation(f"{_SERVICE}/{method}", request, response, read)


def _states(message: Any) -> tuple[TraitState, ...]:
    return tuple(wire.state_from_wire(row) for row in message.traits)
