"""One enrolment at a counter: what is wanted is captured at a station, presented to the service, and enrolled.

The service keeps the rules: how many attempts there are, what is good enough, which finger was presented twice. The
station keeps the devices. This is what is between them, and asks the operator what neither can know.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, Protocol

from biometrik.client import CaptureMoment, Finalized, OpenedSession, StationClient, StationDevice, StationLease
from biometrik.duplicates import DedupePolicy
from biometrik.errors import BiometrikError, InvalidInputError, ProtocolError
from biometrik.fingers import FingerPosition
from biometrik.samples import Sample
from biometrik.types import EnrollmentOutcome, MissingReason, MissingSample, Modality, RequestContext, Trait
from biometrik.verdicts import OverrideKind, SubmitOutcome, Submitted, TraitStanding, TraitState
from biometrik_hardware.errors import DeviceBusyError, DeviceError, LeaseLostError
from biometrik_hardware.events import DeviceKind

_KINDS: Final = {Modality.FACE: DeviceKind.CAMERA, Modality.FINGER: DeviceKind.FINGERPRINT_SCANNER}
_NOUNS: Final = {DeviceKind.CAMERA: "camera", DeviceKind.FINGERPRINT_SCANNER: "scanner"}
#: A lease outlives an attempt by so long, seconds: it is renewed before each, so that a counter that died frees it.
_LEASE_MARGIN_S: Final = 30.0


class Choice(Enum):
    """What the operator may do about a trait that was not taken."""

    AGAIN = "again"
    OVERRIDE = "override"
    """Take what there is, and say why."""
    MISSING = "missing"
    """The finger cannot be had."""
    LEAVE = "leave"
    """Go on without it; it is settled at the end."""


class Desk(Protocol):
    """Where operator and subject are told what happens, and the operator is asked."""

    @property
    def attended(self) -> bool:
        """Whether anybody can be asked; otherwise the first choice of each question is taken."""

    def begin(self, trait: Trait, attempts_left: int) -> None:
        """An attempt begins."""

    def tell(self, moment: CaptureMoment) -> None:
        """It goes on: guidance, and what the camera sees."""

    def end(self, answer: Submitted) -> None:
        """It is over, and the service has judged it."""

    def fail(self, error: BiometrikError) -> None:
        """Something did not work."""

    def choose(self, trait: Trait, choices: Sequence[Choice]) -> Choice:
        """Return what the operator wants; asked only where attended."""

    def ask(self, question: str) -> str:
        """Return the operator's words, "" for none; asked only where attended."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An enrolment that waits on this machine for the service.

    Parameters
    ----------
    subject_id : str
        Whose.
    traits : tuple of TraitState
        Every trait, in the order asked for.
    """

    subject_id: str
    traits: tuple[TraitState, ...]


class Office(Protocol):
    """Who decides: the service, through a :class:`biometrik.client.Client`, or this machine while it is away."""

    def open_session(
        self,
        subject_id: str,
        wanted: Sequence[Trait],
        *,
        galleries: Sequence[str] | None = None,
        dedupe: DedupePolicy | None = None,
        context: RequestContext | None = None,
    ) -> OpenedSession:
        """Begin to collect a person's samples."""

    def submit(self, session_id: str, sample: Sample, *, context: RequestContext | None = None) -> Submitted:
        """Present a sample as one attempt."""

    def mark_missing(
        self, session_id: str, missing: MissingSample, *, context: RequestContext | None = None
    ) -> tuple[TraitState, ...]:
        """Say that a finger cannot be had."""

    def restart(
        self, session_id: str, trait: Trait, *, context: RequestContext | None = None
    ) -> tuple[TraitState, ...]:
        """Begin a trait from nothing."""

    def override(
        self,
        session_id: str,
        trait: Trait,
        kind: OverrideKind,
        reason: str,
        *,
        context: RequestContext | None = None,
    ) -> tuple[TraitState, ...]:
        """Take what the rules would not."""

    def override_duplicates(
        self, session_id: str, reason: str, *, context: RequestContext | None = None
    ) -> tuple[TraitState, ...]:
        """Leave the suspects out of the next search."""

    def finalize(
        self, session_id: str, *, override: str = "", context: RequestContext | None = None
    ) -> Finalized | Kept:
        """Enrol what was taken, or keep it."""

    def cancel_session(self, session_id: str) -> None:
        """Give a session up."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be enrolled.

    Parameters
    ----------
    subject_id : str
        Whom.
    wanted : tuple of Trait
        In the order in which it is taken; each once.
    missing : tuple of MissingSample
        Of the wanted fingers, those that cannot be had.
    galleries : tuple of str or None
        None for the default.
    override : str
        Why it is enrolled although not all was taken; "" where it should not be.
    dedupe : DedupePolicy or None
        How the person is looked for under other ids; None for not at all.
    context : RequestContext
        Who does it.
    """

    subject_id: str
    wanted: tuple[Trait, ...]
    missing: tuple[MissingSample, ...] = ()
    galleries: tuple[str, ...] | None = None
    override: str = ""
    dedupe: DedupePolicy | None = None
    context: RequestContext = field(default_factory=RequestContext)


def devices_for(traits: Sequence[Trait], present: Sequence[StationDevice], named: Sequence[str]) -> dict[Modality, str]:
    """Return which device takes what.

    Parameters
    ----------
    traits : sequence of Trait
        What is to be taken.
    present : sequence of StationDevice
        What the station has.
    named : sequence of str
        Ids that the operator named; they go first.

    Raises
    ------
    InvalidInputError
        A device that was named is not there; or there is none for a trait, or several.
    """
    known = [device.device_id for device in present]
    if unknown := [each for each in named if each not in known]:
        raise InvalidInputError(
            f"device: expected of {', '.join(known) or 'none, the station has no devices'}; got {', '.join(unknown)}"
        )
    found = {}
    for modality in dict.fromkeys(trait.modality for trait in traits):
        kind = _KINDS[modality]
        of_kind = [device.device_id for device in present if device.kind is kind]
        fitting = [each for each in of_kind if each in named] or of_kind
        if len(fitting) != 1:
            raise InvalidInputError(
                f"{_NOUNS[kind]}: expected one, got {', '.join(fitting) or 'none'};"
                f" {'name it' if fitting else 'plug one in, or name it'} with --device"
            )
        found[modality] = fitting[0]
    return found


class Counter:
    """Runs enrolments.

    Parameters
    ----------
    office : Office
        Who decides.
    station : StationClient
        Whose devices are used.
    devices : mapping of Modality to str
        Which device takes what, see :func:`devices_for`.
    desk : Desk
        Operator and subject.
    attempt_s : float
        How long an attempt may take, 1..300 seconds.
    preview_side_px : int
        Longer side of the pictures that the desk is told, 0 for none.
    take_over : str
        Why a device is had although another has it, once for each device; "" where it should not be.
    """

    def __init__(
        self,
        office: Office,
        station: StationClient,
        devices: Mapping[Modality, str],
        desk: Desk,
        *,
        attempt_s: float = 15.0,
        preview_side_px: int = 0,
        take_over: str = "",
    ) -> None:
        self._office = office
        self._station = station
        self._devices = devices
        self._desk = desk
        self._attempt_s = attempt_s
        self._preview_side_px = preview_side_px
        self._take_over = take_over
        self._leases: dict[str, StationLease] = {}
        self._had: set[str] = set()

    def enrol(self, plan: Plan) -> Finalized | Kept:
        """Take what is wanted and enrol it; whatever happens, devices are given back and no session is left open.

        Raises
        ------
        DeviceError
            A device failed, or nobody came, and nobody could be asked what to do.
        BiometrikError
            As the service and the station.
        """
        session = self._office.open_session(
            plan.subject_id, plan.wanted, galleries=plan.galleries, dedupe=plan.dedupe, context=plan.context
        )
        with self._cancelled_unless_enrolled(session.session_id) as done:
            states = session.traits
            for missing in plan.missing:
                states = self._office.mark_missing(session.session_id, missing, context=plan.context)
            with self._released():
                self._take_all(session.session_id, states, plan.context)
            done.append(self._finalized(session.session_id, plan))
        return done[0]

    # --- inside

    def _take_all(self, session_id: str, states: Sequence[TraitState], context: RequestContext) -> None:
        left: set[Trait] = set()
        while wanted := [s for s in states if s.standing is TraitStanding.WANTED and s.trait not in left]:
            trait = wanted[0].trait
            self._desk.begin(trait, wanted[0].attempts_left)
            try:
                sample = self._captured(trait)
            except DeviceError as error:  # not an attempt: the service has seen nothing
                if not self._desk.attended:
                    raise
                self._desk.fail(error)
                answer = None
            else:
                answer = self._office.submit(session_id, sample, context=context)
                states = answer.traits
                self._desk.end(answer)
                if answer.outcome is SubmitOutcome.ACCEPTED:
                    continue
            settled = self._settled(session_id, trait, answer, context)
            if settled is None:
                left.add(trait)
            else:
                states = settled or states

    def _settled(
        self, session_id: str, trait: Trait, answer: Submitted | None, context: RequestContext
    ) -> tuple[TraitState, ...] | None:
        # Returns how all traits stand once it is decided how to go on, () as before; None where the trait is left.
        choices = _choices(trait, answer)
        while True:
            choice = self._desk.choose(trait, choices) if self._desk.attended else choices[0]
            if choice is Choice.LEAVE:
                return None
            try:
                return self._decided(session_id, trait, answer, choice, context)
            except InvalidInputError as error:  # a reason too long or none, or nothing that the service could accept
                self._desk.fail(error)

    def _captured(self, trait: Trait) -> Sample:
        position = FingerPosition(trait.position) if trait.modality is Modality.FINGER else FingerPosition.UNKNOWN
        moments = self._station.capture(
            self._lease(self._devices[trait.modality]),
            position,
            attempt_s=self._attempt_s,
            preview_side_px=self._preview_side_px,
        )
        with closing(moments):
            for moment in moments:
                self._desk.tell(moment)
                if moment.sample is not None:
                    return moment.sample
        raise ProtocolError("station: expected a sample at the end of an attempt, got none")

    def _decided(
        self, session_id: str, trait: Trait, answer: Submitted | None, choice: Choice, context: RequestContext
    ) -> tuple[TraitState, ...]:
        if choice is Choice.MISSING:
            known = [reason.value.lower() for reason in MissingReason]
            said = self._desk.ask(f"Why can it not be had ({', '.join(known)})?")
            if said not in known:
                raise InvalidInputError(f"reason: expected one of {', '.join(known)}, got something else")
            missing = MissingSample(FingerPosition(trait.position), MissingReason(said.upper()), permanent=False)
            return self._office.mark_missing(session_id, missing, context=context)
        if choice is Choice.OVERRIDE:
            twin = answer is not None and answer.same_as is not None
            kind = OverrideKind.SAME_FINGER if twin else OverrideKind.QUALITY
            reason = self._desk.ask("Why is it accepted?")
            return self._office.override(session_id, trait, kind, reason, context=context)
        if answer is not None and answer.outcome is SubmitOutcome.ATTEMPTS_EXHAUSTED:
            return self._office.restart(session_id, trait, context=context)
        return ()

    def _finalized(self, session_id: str, plan: Plan) -> Finalized | Kept:
        done = self._office.finalize(session_id, override=plan.override, context=plan.context)
        if _ended(done, EnrollmentOutcome.NEEDS_RECAPTURE) and self._desk.attended:
            reason = self._desk.ask("Not all was taken. Why is it enrolled all the same (nothing: it is not)?")
            if reason:
                plan = replace(plan, override=reason)
                done = self._office.finalize(session_id, override=reason, context=plan.context)
        while isinstance(done, Finalized) and _ended(done, EnrollmentOutcome.DUPLICATE_SUSPECTED):
            if not self._desk.attended:
                break
            found = done.enrollment.search
            suspects = ", ".join(candidate.subject_id for candidate in found.candidates) if found else "somebody"
            reason = self._desk.ask(f"Enrolled as {suspects}, it seems. Why is it not so (nothing: it may be so)?")
            if not reason:
                break
            try:
                self._office.override_duplicates(session_id, reason, context=plan.context)
            except InvalidInputError as error:  # a reason too long, or more suspects than may be left out
                self._desk.fail(error)
                continue
            done = self._office.finalize(session_id, override=plan.override, context=plan.context)
        return done

    def _lease(self, device_id: str) -> StationLease:
        ttl_s = self._attempt_s + _LEASE_MARGIN_S
        if (held := self._leases.pop(device_id, None)) is not None:
            with suppress(LeaseLostError):  # the operator was asked for longer than it lasted
                self._leases[device_id] = self._station.renew(held, ttl_s=ttl_s)
                return self._leases[device_id]
        self._leases[device_id] = self._acquired(device_id, ttl_s)
        self._had.add(device_id)
        return self._leases[device_id]

    def _acquired(self, device_id: str, ttl_s: float) -> StationLease:
        try:
            return self._station.acquire(device_id, ttl_s=ttl_s)
        except DeviceBusyError:
            if not self._take_over or device_id in self._had:  # who took it from this counter has a reason too
                raise
            return self._station.take_over(device_id, self._take_over, ttl_s=ttl_s)

    @contextmanager
    def _released(self) -> Iterator[None]:
        try:
            yield
        finally:
            while self._leases:
                with suppress(BiometrikError):  # it runs out by itself
                    self._station.release(self._leases.popitem()[1])

    @contextmanager
    def _cancelled_unless_enrolled(self, session_id: str) -> Iterator[list[Finalized | Kept]]:
        done: list[Finalized | Kept] = []
        try:
            yield done
        finally:
            if not done or not _ended(done[0], EnrollmentOutcome.ENROLLED):
                with suppress(BiometrikError):  # it is dropped by itself
                    self._office.cancel_session(session_id)


def _ended(done: Finalized | Kept, outcome: EnrollmentOutcome) -> bool:
    return isinstance(done, Finalized) and done.enrollment.outcome is outcome


def _choices(trait: Trait, answer: Submitted | None) -> tuple[Choice, ...]:
    # What is sensible after an attempt; None where it gave nothing. The first is done where nobody can be asked.
    over = answer is None or answer.outcome is SubmitOutcome.ATTEMPTS_EXHAUSTED
    usable = answer is not None and (answer.same_as is not None or (answer.report.usable and not over))
    return (
        *((Choice.LEAVE, Choice.AGAIN) if over else (Choice.AGAIN, Choice.LEAVE)),
        *((Choice.OVERRIDE,) if usable else ()),
        *((Choice.MISSING,) if trait.modality is Modality.FINGER else ()),
    )
