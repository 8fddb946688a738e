"""One step of the demo: what was done, what must come of it, and what came."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from biometrik.calibration import CalibrationTable
from biometrik.errors import BiometrikError
from biometrik.fingers import FingerprintImage
from biometrik.types import Decision, Enrollment, ErasureCertificate, FaceImage, Identification, SampleReport

Result = Decision | Identification | Enrollment | ErasureCertificate | BiometrikError


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A sample as it was presented.

    Parameters
    ----------
    image : FaceImage or FingerprintImage
        Its pixels.
    caption : str
        What it is.
    report : SampleReport or None
        What the service said of it.
    drawn : bytes
        A PNG of how it matches, to be shown as well; empty for none.
    """

    image: FaceImage | FingerprintImage
    caption: str
    report: SampleReport | None = None
    drawn: bytes = b""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One thing that was done, and whether it came out as it must.

    Parameters
    ----------
    key, title, purpose : str
        Name for machines, for people, and what the step shows.
    expected, outcome : str
        The outcome, or the reason of the error, that must come and that came.
    passed : bool
        Whether they agree, and the step's other conditions hold.
    finding : str
        In a sentence what happened, where the result does not say it all.
    result : Result
        What the service answered; an expected error is an answer too.
    references, probes : tuple of Picture
        What was compared with, and what was presented.
    elapsed_ms : float
        Until the answer was here, one run.
    """

    key: str
    title: str
    purpose: str
    expected: str
    outcome: str
    passed: bool
    finding: str
    result: Result
    references: tuple[Picture, ...]
    probes: tuple[Picture, ...]
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class Story:
    """All steps, and what they rest on.

    Parameters
    ----------
    steps : tuple of Step
        In the order in which they were taken.
    calibration, model_contract_id
        Behind their scores.
    elapsed_s : float
        Of all, with the service's start.
    service : str
        Where it was, in words.
    log : str
        The end of the service's log, where a step did not come out as it must; else "".
    """

    steps: tuple[Step, ...]
    calibration: CalibrationTable
    model_contract_id: str
    elapsed_s: float
    service: str = ""
    log: str = ""

    @property
    def passed(self) -> bool:
        """Whether every step came out as it must."""
        return all(step.passed for step in self.steps)


def take(
    key: str,
    title: str,
    purpose: str,
    expected: str,
    act: Callable[[], Result],
    *,
    holds: Callable[..., bool] = lambda _: True,
    finding: Callable[[], str] = lambda: "",
    references: Sequence[Picture] = (),
    probes: Sequence[Picture] = (),
) -> Step:
    """Do something and check what came of it.

    Parameters
    ----------
    key, title, purpose, expected
        As in :class:`Step`.
    act : callable
        Does it. A typed error that it raises is its result; any other goes through.
    holds : callable
        Whether the result, of the outcome expected, holds what it must.
    finding : callable
        Says what happened, once it has; an error's message speaks for itself.
    references, probes : sequence of Picture
        What is compared with, and what is presented.
    """
    begin = perf_counter()
    result: Result
    try:
        result = act()
    except BiometrikError as error:
        result = error
    elapsed_ms = (perf_counter() - begin) * 1e3
    outcome = _outcome(result)
    return Step(
        key=key,
        title=title,
        purpose=purpose,
        expected=expected,
        outcome=outcome,
        passed=outcome == expected and holds(result),
        finding=str(result) if isinstance(result, BiometrikError) else finding(),
        result=result,
        references=tuple(references),
        probes=_with_reports(probes, result),
        elapsed_ms=elapsed_ms,
    )


def _outcome(result: Result) -> str:
    match result:
        case BiometrikError():
            return result.reason
        case ErasureCertificate():
            return "ERASED"
        case _:
            return str(result.outcome.value)


def _with_reports(probes: Sequence[Picture], result: Result) -> tuple[Picture, ...]:
    if isinstance(result, Decision | Identification | Enrollment):
        return tuple(replace(probe, report=report) for probe, report in zip(probes, result.samples, strict=True))
    return tuple(probes)
