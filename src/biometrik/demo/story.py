"""The main job from enrolment to erasure, on real photographs, with every answer checked against what it must be."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Final

from biometrik.config import EngineConfig, FacePolicy
from biometrik.demo import photographs
from biometrik.demo.steps import Picture, Result, Step, Story, take
from biometrik.engine import Engine
from biometrik.errors import BiometrikError, InvalidInputError, ThresholdUnsupportedError
from biometrik.face.detection import DETECTORS
from biometrik.inference import Runtime
from biometrik.reasons import Reason
from biometrik.types import Decision, FaceImage, Identification
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
    """Run the story on a database in a temporary folder.

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
        The engine cannot be opened.
    """
    begin = perf_counter()
    people = _people(config)
    with tempfile.TemporaryDirectory(prefix="biometrik-demo-") as folder:
        teller = _Teller(Path(folder) / "demo.db", config, people, on_step)
        try:
            for chapter in (teller.enrol, teller.verify, teller.identify, teller.last, teller.erase):
                chapter()
            engine = teller.engine
            return Story(tuple(teller.steps), engine.calibration, engine.model_contract_id, perf_counter() - begin)
        finally:
            teller.engine.close()


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
        self, database: Path, config: EngineConfig, people: Mapping[str, FaceImage], on_step: Callable[[Step], None]
    ) -> None:
        self.steps: list[Step] = []
        self._database = database
        self._config = config
        self._people = people
        self._on_step = on_step
        self._enrolled: dict[str, Picture] = {}
        self._counter = {
            name: photographs.photographed_again(image, seed) for seed, (name, image) in enumerate(people.items())
        }
        self._dark = Picture(
            photographs.underexposed(self._counter[ENROLLED[5]], DARK_STOPS, seed=1),
            f"{ENROLLED[5]} at the counter (re-photographed copy, {DARK_STOPS:g} stops less light)",
        )
        self.engine = Engine.open(database, config)

    def enrol(self) -> None:
        for name in ENROLLED:
            picture = Picture(self._people[name], f"{name}, photograph at enrolment")
            step = self._told(
                take(
                    f"enroll-{name}",
                    f"Enrol {name}",
                    "",
                    "ENROLLED",
                    lambda name=name: self.engine.enroll(name, [self._people[name]]),  # type: ignore[misc]
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
                lambda: self.engine.enroll("A-0107", [self._dark.image]),
                holds=lambda result: Reason.TOO_DARK in result.samples[0].reasons,
                probes=[self._dark],
            )
        )
        group = FaceImage.from_file(photographs.find(photographs.GROUP))
        strict = replace(self._config, face=replace(self._config.face, policy=FacePolicy.ERROR))
        with Engine.open(":memory:", strict) as engine:
            self._told(
                take(
                    "enroll-several-faces",
                    "Enrol, several people",
                    "Whose face is it? Under the strict policy the engine does not guess. (By default it takes the most"
                    " prominent one.)",
                    "FAILURE_TO_ENROLL",
                    lambda: engine.enroll("A-0107", [group]),
                    holds=lambda result: result.samples[0].reasons == (Reason.SEVERAL_FACES,),
                    probes=[Picture(group, "A group photograph")],
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
        cat = Picture(FaceImage.from_file(photographs.find(photographs.CAT)), "A photograph without a human face")
        self._told(
            take(
                "verify-no-face",
                f"Verify {ENROLLED[0]}: no face",
                "Nothing can be compared. That is neither a match nor a refusal, and the reason says what to do.",
                "INCONCLUSIVE",
                lambda: self.engine.verify(ENROLLED[0], [cat.image], max_fmr=MAX_FMR),
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
                lambda: self.engine.verify(ENROLLED[5], [self._dark.image], max_fmr=MAX_FMR),
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
                lambda: self.engine.verify(ENROLLED[2], [self._counter[ENROLLED[2]]], max_fmr=ABSURD_FMR),
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

    def last(self) -> None:
        self._told(
            take(
                "second-opener",
                "Open a second time",
                "One program owns a database. A second one is told who has it.",
                "DATABASE_LOCKED",
                lambda: _opened_and_closed(self._database, self._config),
            )
        )
        people = len(self.engine.subjects())
        self.engine.close()
        begin = perf_counter()
        self.engine = Engine.open(self._database, self._config)
        reopened_ms = (perf_counter() - begin) * 1e3
        self._claim(
            "reopen",
            ENROLLED[1],
            ENROLLED[1],
            "MATCH",
            "What was enrolled is on disk: the engine was closed and opened again.",
            title=f"Close, reopen, verify {ENROLLED[1]}",
            holds=lambda _: len(self.engine.subjects()) == people,
            finding=f"Opened again in {reopened_ms:.0f} ms with all {people} people.",
        )

    def erase(self) -> None:
        name = ENROLLED[3]
        template = self.engine.extract([self._people[name]])[0]
        payload = template.payload if template else b"\0"
        before = self._places(payload)
        self._told(
            take(
                "erase",
                f"Erase {name}",
                "Everything stored of the person is removed for good, and a certificate says what.",
                "ERASED",
                lambda: self.engine.erase(name),
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
                lambda: self.engine.verify(claimed, [self._counter[actual]], max_fmr=MAX_FMR),
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
                lambda: self.engine.identify([self._counter[actual]], max_fpir=MAX_FPIR),
                holds=holds,
                probes=[self._at_counter(actual)],
            )
        )

    def _told(self, step: Step) -> Step:
        self.steps.append(step)
        self._on_step(step)
        return step

    def _at_counter(self, name: str) -> Picture:
        return Picture(self._counter[name], f"{name} at the counter (re-photographed copy)")

    def _places(self, payload: bytes) -> int:
        return sum(file.read_bytes().count(payload) for file in self._database.parent.iterdir() if file.is_file())


def _opened_and_closed(database: Path, config: EngineConfig) -> Result:
    # Only reached if the lock fails; then the step must fail in words.
    with Engine.open(database, config):
        return BiometrikError("database: expected a lock, got none; two engines own it")
