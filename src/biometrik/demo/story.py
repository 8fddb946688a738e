"""The main job from enrolment to erasure, on real photographs, with every answer checked against what it must be."""

import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Final

from biometrik.calibration import CalibrationTable, load_calibrations
from biometrik.config import EngineConfig, FacePolicy
from biometrik.demo import fingers, photographs
from biometrik.demo.office import Office
from biometrik.demo.steps import Picture, Result, Step, Story, take
from biometrik.duplicates import DedupePolicy
from biometrik.engine import Engine
from biometrik.errors import (
    BiometrikError,
    CalibrationNotFoundError,
    InvalidInputError,
    PermissionDeniedError,
    ThresholdUnsupportedError,
)
from biometrik.face.detection import DETECTORS
from biometrik.inference import Runtime
from biometrik.reasons import Reason
from biometrik.types import Decision, Enrollment, FaceImage, Identification, RequestContext
from biometrik.wording import one_in

MAX_FMR: Final = 1e-3
MAX_FPIR: Final = 0.01
#: Beyond what any calibration that ships can support.
ABSURD_FMR: Final = 1e-9
#: So dark that the face is found, but too little is left of it.
DARK_STOPS: Final = 9.0

ENROLLED: Final = ("A-0101", "A-0102", "A-0103", "A-0104", "A-0105", "A-0106")
STRANGERS: Final = ("stranger 1", "stranger 2")


def tell(config: EngineConfig, on_step: Callable[[Step], None]) -> Story:
    """Start a service in a temporary folder, run the story through its client, and stop it, whatever happens.

    Parameters
    ----------
    config : EngineConfig
        The engine's settings.
    on_step : callable
        Called after each step.

    Raises
    ------
    InvalidInputError
        The photographs are not installed, or not those that the story is about.
    BiometrikError
        The service does not start, or fails; the end of its log is a note of the error.
    """
    begin = perf_counter()
    with tempfile.TemporaryDirectory(prefix="biometrik-demo-") as folder, Office(Path(folder), config) as office:
        office.start()  # it loads its models while the photographs are prepared
        people = _people(config)
        try:
            office.wait()
            service = f"{office.address}, process {office.pid}, {office.started_ms / 1000:.1f} s from start to ready"
            with closing(_Teller(office, config, people, on_step)) as teller:
                contract = teller.counter.capabilities().model_contract_id
                teller.tell()
        except BiometrikError as error:
            error.add_note(f"The service's log ends:\n{office.last_words()}")
            raise
        steps = tuple(teller.steps)
        return Story(
            steps=steps,
            calibration=_calibration(config, contract),
            model_contract_id=contract,
            elapsed_s=perf_counter() - begin,
            service=service,
            log="" if all(step.passed for step in steps) else office.last_words(),
        )


def _calibration(config: EngineConfig, contract: str) -> CalibrationTable:
    # The service reads the same tables; all rows of one are not in the contract.
    evidence = load_calibrations(config.models.calibrations).get(contract)
    if evidence is None or evidence.real is None:
        raise CalibrationNotFoundError(f"calibration: none for {contract}; make one with scripts/calibrate")
    return evidence.real


def _people(config: EngineConfig) -> dict[str, FaceImage]:
    # Six faces are cut out of the group photograph, from left to right; the fifth stays a stranger.
    group, astronaut, portrait = (
        FaceImage.from_file(photographs.find(source))
        for source in (photographs.GROUP, photographs.ASTRONAUT, photographs.PORTRAIT)
    )
    detector = DETECTORS.load(config.face.detector)(config.face.detection, Runtime(config.runtime, config.models))
    boxes = sorted((face.box for face in detector.detect([group.pixels])[0]), key=lambda box: box.x)
    if len(boxes) != 6:
        raise InvalidInputError(f"demo photographs: expected six faces in {photographs.GROUP.path}, got {len(boxes)}")
    one, two, three, four, stranger, six = (photographs.cut_out(group, box) for box in boxes)
    names = (*ENROLLED, *STRANGERS)
    return dict(zip(names, (one, two, three, four, six, astronaut, stranger, portrait), strict=True))


class _Teller:
    def __init__(
        self, office: Office, config: EngineConfig, people: Mapping[str, FaceImage], on_step: Callable[[Step], None]
    ) -> None:
        self.steps: list[Step] = []
        self._office = office
        self._config = config
        self._people = people
        self._on_step = on_step
        self._enrolled: dict[str, Picture] = {}
        self._counter_frames = {
            name: photographs.photographed_again(image, seed) for seed, (name, image) in enumerate(people.items())
        }
        self._dark = Picture(
            photographs.underexposed(self._counter_frames[ENROLLED[5]], DARK_STOPS, seed=1),
            f"{ENROLLED[5]} at the counter (re-photographed copy, {DARK_STOPS:g} stops less light)",
        )
        self._connect()

    def _connect(self) -> None:
        self.counter = self._office.client("counter")
        self.gate = self._office.client("gate")
        for client in (self.counter, self.gate):  # lest the first answer's time be that of connecting
            client.wait_until_ready()

    def close(self) -> None:
        self.counter.close()
        self.gate.close()

    def tell(self) -> None:
        self.enrol()
        self.verify()
        self.identify()
        self.fingers()
        self.guard()
        self.restart()
        self.erase()

    def enrol(self) -> None:
        for name in ENROLLED:
            picture = Picture(self._people[name], f"{name}, photograph at enrolment")
            step = self._told(
                take(
                    f"enroll-{name}",
                    f"Enrol {name}",
                    "",
                    "ENROLLED",
                    lambda name=name: self._enrolment(name),  # type: ignore[misc]
                    probes=[picture],
                )
            )
            self._enrolled[name] = step.probes[0]
        self._told(
            take(
                "enroll-too-dark",
                "Enrol, far too dark",
                "A bad reference would trouble every later visit, so it is refused with advice, and nothing is stored.",
                "NEEDS_RECAPTURE",
                lambda: self.counter.enroll("A-0107", [self._dark.image]),
                holds=lambda result: Reason.TOO_DARK in result.samples[0].reasons,
                probes=[self._dark],
            )
        )
        first = self.steps[0].result
        self._told(
            take(
                "enroll-repeated",
                f"Enrol {ENROLLED[0]}, sent twice",
                "The line broke, and the counter sends the same request under the same transaction id: the first answer"
                " comes again, and nobody is enrolled twice.",
                "ENROLLED",
                lambda: self._enrolment(ENROLLED[0]),
                holds=lambda result: (
                    isinstance(first, Enrollment)
                    and result.encounter_id == first.encounter_id
                    and len(self.counter.subject(ENROLLED[0]).encounters) == 1
                ),
                finding=lambda: "The same encounter id as at first; one encounter is stored.",
                probes=[Picture(self._people[ENROLLED[0]], f"{ENROLLED[0]}, photograph at enrolment")],
            )
        )
        self._told(
            take(
                "enroll-duplicate",
                f"Enrol {ENROLLED[2]} under another id",
                "Somebody who is enrolled comes as another person. Before anything is stored the service searches for"
                " the face among everybody else, and an officer is told whom it may be.",
                "DUPLICATE_SUSPECTED",
                lambda: self.counter.enroll("A-0108", [self._counter_frames[ENROLLED[2]]], dedupe=DedupePolicy()),
                holds=lambda result: [c.subject_id for c in result.search.candidates] == [ENROLLED[2]],
                finding=lambda: f"It looks like {ENROLLED[2]}; nothing was stored.",
                references=[self._enrolled[ENROLLED[2]]],
                probes=[self._at_counter(ENROLLED[2])],
            )
        )

    def verify(self) -> None:
        for name in (ENROLLED[0], ENROLLED[2], ENROLLED[5]):
            self._claim(f"verify-genuine-{name}", name, name, "MATCH", "The person is who they say they are.")
        self._claim(
            "verify-impostor-1",
            ENROLLED[3],
            STRANGERS[0],
            "NO_MATCH",
            "A stranger claims to be an enrolled person, the one in the database who looks most like him.",
        )
        self._claim(
            "verify-impostor-2",
            ENROLLED[4],
            ENROLLED[1],
            "NO_MATCH",
            "An enrolled person claims to be another enrolled person.",
        )
        family = ENROLLED[2:5]
        self._told(
            take(
                "verify-few",
                f"Verify one of {len(family)}: {ENROLLED[4]}",
                "1:few, at a gate: the person is one of those who are expected, and the answer says which. The chance"
                " that a stranger passes is that of all together.",
                "MATCH",
                lambda: self.gate.verify_any(family, [self._counter_frames[ENROLLED[4]]], max_fmr=MAX_FMR),
                holds=lambda result: result.subject_id == ENROLLED[4] and result.comparisons == len(family),
                finding=lambda: f"Of {', '.join(family)} it is {ENROLLED[4]}.",
                references=[self._enrolled[name] for name in family],
                probes=[self._at_counter(ENROLLED[4])],
            )
        )
        cat = Picture(FaceImage.from_file(photographs.find(photographs.CAT)), "A photograph without a human face")
        self._told(
            take(
                "verify-no-face",
                f"Verify {ENROLLED[0]}: no face",
                "Nothing can be compared. That is neither a match nor a refusal, and the reason says what to do.",
                "INCONCLUSIVE",
                lambda: self.counter.verify(ENROLLED[0], [cat.image], max_fmr=MAX_FMR),
                holds=lambda result: Reason.NO_FACE in result.reasons,
                references=[self._enrolled[ENROLLED[0]]],
                probes=[cat],
            )
        )
        self._told(
            take(
                "verify-too-dark",
                f"Verify {ENROLLED[5]}: far too dark",
                "The right person, but hardly any light. Nobody is refused on a poor photograph: it is taken again.",
                "INCONCLUSIVE",
                lambda: self.counter.verify(ENROLLED[5], [self._dark.image], max_fmr=MAX_FMR),
                holds=lambda result: Reason.TOO_DARK in result.reasons,
                references=[self._enrolled[ENROLLED[5]]],
                probes=[self._dark],
            )
        )
        self._told(
            take(
                "verify-beyond-evidence",
                f"Verify {ENROLLED[2]} at FMR {ABSURD_FMR:g}",
                f"A false match rate of {one_in(ABSURD_FMR)}: the calibration has not seen enough strangers to promise"
                " that. It says so instead of guessing a threshold.",
                ThresholdUnsupportedError.reason,
                lambda: self.counter.verify(ENROLLED[2], [self._counter_frames[ENROLLED[2]]], max_fmr=ABSURD_FMR),
                references=[self._enrolled[ENROLLED[2]]],
                probes=[self._at_counter(ENROLLED[2])],
            )
        )

    def identify(self) -> None:
        self._search(
            "identify-known",
            ENROLLED[3],
            "MATCH",
            "Who is this? The best candidate reaches the threshold, which moves with the number of people searched.",
            holds=lambda result: [c.subject_id for c in result.candidates if c.is_match] == [ENROLLED[3]],
        )
        for number, name in enumerate(STRANGERS, start=1):
            self._search(
                f"identify-stranger-{number}",
                name,
                "NO_MATCH",
                "Nobody enrolled looks like this person enough: unknown. Somebody is always the most alike, and is"
                " shown as a candidate, but not named.",
            )

    def fingers(self) -> None:
        own = ENROLLED[1]
        fingers.steps(
            self.counter, self._config, self._people[own], self._counter_frames[own], self._told, max_fmr=MAX_FMR
        )

    def guard(self) -> None:
        self._told(
            take(
                "refused-scope",
                f"A gate erases {ENROLLED[0]}",
                "Each client has a token, and each token its scopes. The gate may verify, and nothing else.",
                PermissionDeniedError.reason,
                lambda: self.gate.erase(ENROLLED[0]),
                holds=lambda _: len(self.counter.subject(ENROLLED[0]).encounters) == 1,
            )
        )
        self._told(
            take(
                "second-opener",
                "Open the database beside the service",
                "One program owns a database. A second one is told who has it.",
                "DATABASE_LOCKED",
                lambda: _opened_and_closed(self._office.database, self._config),
            )
        )

    def restart(self) -> None:
        people = len(self.counter.subjects())
        self.close()
        self._office.stop()
        self._office.start(FacePolicy.ERROR)
        self._office.wait()
        self._connect()
        self._claim(
            "reopen",
            ENROLLED[1],
            ENROLLED[1],
            "MATCH",
            "What was enrolled is on disk: the service was stopped and started again.",
            title=f"Restart, verify {ENROLLED[1]}",
            holds=lambda _: len(self.counter.subjects()) == people,
            finding=f"Ready again {self._office.started_ms / 1000:.1f} s after its start, with all {people} people.",
        )
        group = FaceImage.from_file(photographs.find(photographs.GROUP))
        self._told(
            take(
                "enroll-several-faces",
                "Enrol, several people",
                "Whose face is it? Under the strict policy, with which it was started again, the service does not"
                " guess. (By default it takes the most prominent one.)",
                "FAILURE_TO_ENROLL",
                lambda: self.counter.enroll("A-0107", [group]),
                holds=lambda result: result.samples[0].reasons == (Reason.SEVERAL_FACES,),
                probes=[Picture(group, "A group photograph")],
            )
        )

    def erase(self) -> None:
        name = ENROLLED[3]
        template = self.counter.extract([self._people[name]])[0]
        payload = template.payload if template else b"\0"
        before = self._places(payload)
        self._told(
            take(
                "erase",
                f"Erase {name}",
                "Everything stored of the person is removed for good, and a certificate says what.",
                "ERASED",
                lambda: self.counter.erase(name),
                holds=lambda _: self._places(payload) == 0,
                finding=lambda: (
                    f"The {len(payload)} bytes of the template stood {before} time(s) in the database's files;"
                    f" now {self._places(payload)} time(s)."
                ),
            )
        )
        del self._enrolled[name]
        self._claim(
            "verify-erased",
            name,
            name,
            "SUBJECT_NOT_FOUND",
            "The erased person comes back: there is nothing to compare with.",
        )
        self._search(
            "identify-erased",
            name,
            "NO_MATCH",
            "Nor can a search find the erased person.",
            holds=lambda result: all(c.subject_id != name for c in result.candidates),
        )

    def _enrolment(self, name: str) -> Enrollment:
        return self.counter.enroll(name, [self._people[name]], context=RequestContext(transaction_id=f"visit-{name}"))

    def _claim(
        self,
        key: str,
        claimed: str,
        actual: str,
        expected: str,
        purpose: str,
        *,
        title: str = "",
        holds: Callable[[Decision], bool] = lambda _: True,
        finding: str = "",
    ) -> None:
        who = "the genuine person" if claimed == actual else actual
        self._told(
            take(
                key,
                title or f"Verify {claimed}: {who}",
                purpose,
                expected,
                lambda: self.counter.verify(claimed, [self._counter_frames[actual]], max_fmr=MAX_FMR),
                holds=holds,
                finding=lambda: finding,
                references=[self._enrolled[claimed]] if claimed in self._enrolled else [],
                probes=[self._at_counter(actual)],
            )
        )

    def _search(
        self,
        key: str,
        actual: str,
        expected: str,
        purpose: str,
        *,
        holds: Callable[[Identification], bool] = lambda _: True,
    ) -> None:
        self._told(
            take(
                key,
                f"Identify {actual}",
                purpose,
                expected,
                lambda: self.counter.identify([self._counter_frames[actual]], max_fpir=MAX_FPIR),
                holds=holds,
                probes=[self._at_counter(actual)],
            )
        )

    def _told(self, step: Step) -> Step:
        self.steps.append(step)
        self._on_step(step)
        return step

    def _at_counter(self, name: str) -> Picture:
        return Picture(self._counter_frames[name], f"{name} at the counter (re-photographed copy)")

    def _places(self, payload: bytes) -> int:
        return sum(file.read_bytes().count(payload) for file in self._office.database_files())


def _opened_and_closed(database: Path, config: EngineConfig) -> Result:
    # Only reached if the lock fails; then the step must fail in words.
    with Engine.open(database, config):
        return BiometrikError("database: expected a lock, got none; two engines own it")
