from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from biometrik.errors import InvalidInputError
from biometrik.evaluation.prints import (
    EnrolledPrints,
    Finger,
    compare_like,
    enroll_prints,
    labelled_prints,
    synthetic_prints,
)
from biometrik.fingerprint.matching import MATCHERS
from biometrik.fingerprint.pipeline import FingerPipeline, ProcessedPrint, RejectedPrint
from biometrik.fingers import FingerprintImage, Minutiae
from biometrik.reasons import Reason
from biometrik.synthetic.templates import draw_identity, draw_template


class Named:
    """Stands in for the pipeline: the first pixel names a drawn identity, 255 none."""

    def process(self, images: Sequence[FingerprintImage]) -> list[ProcessedPrint | RejectedPrint]:
        return [self._one(image) for image in images]

    def _one(self, image: FingerprintImage) -> ProcessedPrint | RejectedPrint:
        name = int(image.pixels[0, 0])
        if name == 255:
            return RejectedPrint(Reason.TOO_FEW_MINUTIAE)
        return ProcessedPrint(image.position, cast(Any, None), drawn(name, int(image.pixels[0, 1])))


def drawn(identity: int, impression: int) -> Minutiae:
    return draw_template(draw_identity(7, identity), impression)


def pipeline() -> FingerPipeline:
    return cast(FingerPipeline, Named())


def enrolled(*fingers: tuple[str, str], failures: int = 0) -> EnrolledPrints:
    # Prints of one finger are impressions of one identity.
    kinds = sorted(set(fingers))
    minutiae = [drawn(kinds.index(finger), k) for k, finger in enumerate(fingers)]
    return EnrolledPrints(tuple(Finger(*finger) for finger in fingers), tuple(minutiae), failures)


def save(path: Path, identity: int, impression: int) -> None:
    pixels = np.full((40, 40), 200, dtype=np.uint8)
    pixels[0, :2] = identity, impression
    Image.fromarray(pixels).save(path)


def test_names_say_whose_print_it_is(tmp_path: Path) -> None:
    for name in ("101_1.tif", "101_2.tif", "012_3_8.png", "notes.txt"):
        save(tmp_path / name, 1, 2) if name != "notes.txt" else (tmp_path / name).touch()
    found = [print_ for source in labelled_prints(tmp_path, ppi=500.0) for print_ in source()]
    assert [finger for finger, _ in found] == [Finger("012", "3"), Finger("101", ""), Finger("101", "")]
    assert [image.ppi for _, image in found] == [500.0] * 3


@pytest.mark.parametrize("name", ["print.tif", "a_b_c_d.tif"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match="expected prints in"):
        labelled_prints(tmp_path)
    save(tmp_path / name, 0, 0)
    with pytest.raises(InvalidInputError, match=f"expected <finger>_<impression> .* got {name}"):
        labelled_prints(tmp_path)


def test_enrolment_keeps_the_order_and_counts_failures(tmp_path: Path) -> None:
    for finger, identity in (("1", 3), ("2", 255), ("3", 5)):
        for impression in (1, 2):
            save(tmp_path / f"{finger}_{impression}.png", identity, impression)
    steps: list[int] = []
    one, other = enroll_prints(labelled_prints(tmp_path, ppi=500.0), [pipeline(), pipeline()], progress=steps.append)
    assert sum(steps) == 6
    for found in (one, other):
        assert [finger.subject for finger in found.fingers] == ["1", "1", "3", "3"]
        assert found.failures_to_enroll == 2
        for minutiae, (identity, impression) in zip(found.minutiae, ((3, 1), (3, 2), (5, 1), (5, 2)), strict=True):
            assert np.array_equal(minutiae.x, drawn(identity, impression).x)


def test_synthetic_fingers_are_each_anothers() -> None:
    sources = synthetic_prints(3, 2, seed=5)
    prints = sources[1]()
    assert len(sources) == 3
    assert [finger for finger, _ in prints] == [Finger("1"), Finger("1")]
    assert not np.array_equal(prints[0][1].pixels, prints[1][1].pixels)
    assert np.array_equal(prints[0][1].pixels, sources[1]()[0][1].pixels)


def test_like_fingers_of_a_set_are_compared() -> None:
    first = enrolled(("anna", "2"), ("anna", "2"), ("anna", "7"), ("boris", "2"), ("boris", "7"), failures=1)
    second = enrolled(("1", ""), ("2", ""), ("2", ""), failures=2)
    steps: list[int] = []
    matcher = MATCHERS.load("cylinders")()
    trials = compare_like([first, second], matcher, progress=steps.append)
    # Anna's index twice; hers with Boris's (2) and their other fingers (1); 1 with 2 and 2.
    assert (len(trials.mated), len(trials.non_mated)) == (1 + 1, 3 + 2)
    assert (trials.images, trials.failures_to_enroll) == (5 + 3 + 3, 3)
    assert trials.non_mated.subjects == 4
    assert {tuple(sorted(pair)) for pair in zip(trials.non_mated.first, trials.non_mated.second, strict=True)} == {
        (0, 1),
        (2, 3),
    }
    assert sum(steps) == 4 + 2
    one, other = (matcher.prepare(first.minutiae[k]) for k in (0, 1))
    assert matcher.compare(one, other) in trials.mated.similarity.tolist()
    assert trials.mated.similarity.min() > trials.non_mated.similarity.max()


@pytest.mark.parametrize(
    "fingers", [[], [("1", "")], [("1", ""), ("2", "")], [("1", ""), ("1", "")], [("1", "2"), ("2", "7")]]
)
def test_prints_that_say_nothing_are_refused(fingers: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidInputError, match="prints: expected"):
        compare_like([enrolled(*fingers)], MATCHERS.load("cylinders")())
