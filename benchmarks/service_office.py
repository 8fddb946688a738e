"""The office that the benchmarks of the service use: a database of enrolled people, and photographs at the counter."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.history import NotRunError
from benchmarks.options import Options
from benchmarks.speed_face import shipped_photograph
from biometrik.config import EngineConfig, ModelParameters
from biometrik.engine import Engine
from biometrik.face.embedding import to_template
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.synthetic.fingerprints import MasterFinger, draw_finger
from biometrik.synthetic.impressions import draw_impression
from biometrik.synthetic.marking import png
from biometrik.types import FaceImage, Outcome, Template

#: Longest side of a photograph, pixels, and its JPEG quality: as counters send them.
SIDE_PX: Final = 250
_JPEG_QUALITY: Final = 90
#: Photographs, and how many are taken to have so many good ones.
_PHOTOGRAPHS: Final = 32
_TRIES: Final = 40
_CLAIMS: Final = 16
#: Which finger the synthetic ones are, and impressions of each beside the one that is enrolled.
FINGER: Final = FingerPosition.RIGHT_INDEX
_IMPRESSIONS: Final = 3
_SEED: Final = 20_260
#: Values of the default embedder's embeddings.
_DIMENSION: Final = 128


@dataclass(frozen=True, slots=True)
class Office:
    """Who is enrolled, and what comes to the counter.

    Parameters
    ----------
    database : Path
        Closed; whoever opens it owns it.
    photographs : Path
        Folder of JPEG files, :data:`SIDE_PX` square, all of the person that is enrolled as each of ``claims``.
    claims : tuple of str
        Subjects whose verification with any of the photographs is a match.
    enrolled : int
        Subjects, the claims and the owners of prints included; the others are random embeddings.
    prints : Path
        Folder of PNG files ``SUBJECT.NUMBER.png``, each a SYNTHETIC impression of a finger whose verification as that
        subject is a match; empty where none were asked for.
    """

    database: Path
    photographs: Path
    claims: tuple[str, ...]
    enrolled: int
    prints: Path

    def images(self) -> list[FaceImage]:
        """Return the photographs, decoded, with their bytes."""
        return [FaceImage.from_file(path) for path in sorted(self.photographs.glob("*.jpg"))]


def engine_config(options: Options) -> EngineConfig:
    """Return the configuration of the engine in process; that of the servers is the same."""
    return EngineConfig(models=ModelParameters(cache=options.cache))


def furnish(folder: Path, options: Options, strangers: int, *, fingers: int = 0) -> Office:
    """Make an office in an empty folder.

    Parameters
    ----------
    folder : Path
        Where database and photographs go.
    options : Options
        Where the folded weights are.
    strangers : int
        Enrolled beside the claims.
    fingers : int
        Subjects enrolled with one synthetic finger each.

    Raises
    ------
    NotRunError
        The photograph is not here, or it or a finger is not recognised.
    """
    shipped = shipped_photograph()
    if shipped is None:
        raise NotRunError("scikit-image, whose photograph is verified, is not installed; run scripts/setup")
    random = np.random.default_rng(_SEED)
    person = FaceImage.from_file(shipped)
    photographs = folder / "photographs"
    photographs.mkdir()
    claims = tuple(f"claim-{k:02}" for k in range(_CLAIMS))
    prints = folder / "prints"
    prints.mkdir()
    office = Office(folder / "office.db", photographs, claims, len(claims) + strangers + fingers, prints)
    with Engine.open(office.database, engine_config(options)) as engine:
        (prepared,) = engine.prepare([person])
        for claim in claims:
            engine.enroll(claim, [prepared])
        for k in range(strangers):
            engine.enroll(f"stranger-{k:05}", [_stranger(engine.model_contract_id, _DIMENSION, random)])
        taken = (_taken_again(person.pixels, random) for _ in range(_TRIES))
        good = [data for data in taken if _is_match(engine, claims[0], data)][:_PHOTOGRAPHS]
        for k in range(fingers):
            _enrol_finger(engine, k, prints)
    if len(good) < _PHOTOGRAPHS:
        raise NotRunError(f"photographs: expected {_PHOTOGRAPHS} that are good and match, got {len(good)}")
    for k, data in enumerate(good):
        (photographs / f"{k:02}.jpg").write_bytes(data)
    return office


def _enrol_finger(engine: Engine, index: int, folder: Path) -> None:
    # The first impression is enrolled, those of the next that match it, and could be enrolled, come to the counter.
    finger, who = draw_finger(_SEED, index), f"print-{index:02}"
    enrolled, *others = (_pressed(finger, number) for number in range(1 + _IMPRESSIONS))
    engine.enroll(who, [enrolled])
    for number, (image, sample) in enumerate(zip(others, engine.prepare(others), strict=True), 1):
        if sample.acceptable and engine.verify(who, [sample]).outcome is Outcome.MATCH:
            (folder / f"{who}.{number}.png").write_bytes(png(image))
    if not [*folder.glob(f"{who}.*")]:
        raise NotRunError(f"finger {index}: expected an impression that matches, got none of {_IMPRESSIONS}")


def _pressed(finger: MasterFinger, number: int) -> FingerprintImage:
    return replace(draw_impression(finger, number).image, position=FINGER)


def _taken_again(pixels: NDArray[np.uint8], random: np.random.Generator) -> bytes:
    # The photograph as another moment would have shown it: turned, nearer, darker by a little.
    height, width = pixels.shape[:2]
    turn = cv2.getRotationMatrix2D((0.44 * width, 0.22 * height), random.uniform(-4, 4), random.uniform(0.95, 1.05))
    turned = cv2.warpAffine(pixels, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    small = cv2.resize(turned, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    dim = cv2.convertScaleAbs(small, alpha=random.uniform(0.9, 1.0))
    done, data = cv2.imencode(".jpg", dim[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert done
    return bytes(data)


def _is_match(engine: Engine, claim: str, photograph: bytes) -> bool:
    (sample,) = engine.prepare([FaceImage.from_bytes(photograph)])
    return sample.acceptable and engine.verify(claim, [sample]).outcome is Outcome.MATCH


def _stranger(contract: str, dimension: int, random: np.random.Generator) -> Template:
    # A random direction: nobody's face, and not near anybody's.
    vector = random.standard_normal(dimension).astype(np.float32)
    return to_template(vector / np.linalg.norm(vector), contract)
