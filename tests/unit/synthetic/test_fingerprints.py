import hashlib
import subprocess
import sys

import numpy as np
import pytest

from biometrik.errors import InvalidInputError
from biometrik.fingers import MinutiaKind
from biometrik.synthetic.fingerprints import MasterFinger, MasterParameters, draw_finger
from biometrik.synthetic.orientation import FingerClass


@pytest.fixture(scope="module")
def finger() -> MasterFinger:
    return draw_finger(11, 3)


def _digest(finger: MasterFinger) -> str:
    return hashlib.sha256(finger.ridges.tobytes() + finger.minutiae.x.tobytes()).hexdigest()


def test_the_same_arguments_give_the_same_finger_in_any_process(finger: MasterFinger) -> None:
    program = (
        "import hashlib; from biometrik.synthetic.fingerprints import draw_finger; f = draw_finger(11, 3);"
        "print(hashlib.sha256(f.ridges.tobytes() + f.minutiae.x.tobytes()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == _digest(finger)


def test_other_arguments_give_another_finger(finger: MasterFinger) -> None:
    others = (draw_finger(11, 4), draw_finger(12, 3), draw_finger(11, 3, parameters=MasterParameters(iterations=13)))
    assert len({_digest(finger), *map(_digest, others)}) == 4


@pytest.mark.parametrize("pattern", list(FingerClass))
def test_every_class_has_ridges_and_minutiae_everywhere(pattern: FingerClass) -> None:
    finger = draw_finger(2, 0, pattern=pattern)
    assert finger.orientation.pattern is pattern
    assert np.mean(finger.ridges[finger.inside] > 0) == pytest.approx(0.5, abs=0.04)
    assert (finger.ridges[~finger.inside] == 0).all()
    # Minutiae in 10,000 square pixels, where they count.
    assert 4.0 < 1e4 * len(finger.minutiae) / finger.inside.sum() < 9.0


def test_minutiae_are_true() -> None:
    # Along an ending's direction there is a ridge, behind it none; a bifurcation has a valley there and a ridge behind.
    hits = total = 0
    for index in range(3):
        finger = draw_finger(8, index)
        m = finger.minutiae
        sign = np.where(m.kind == MinutiaKind.ENDING, 1, -1)
        for step, expected in ((8, 1), (-8, -1)):
            column = np.rint(m.x + step * np.cos(m.direction)).astype(int)
            row = np.rint(m.y + step * np.sin(m.direction)).astype(int)
            hits += int((sign * expected * finger.ridges[row, column] > 0).sum())
            total += len(m)
    assert hits / total > 0.9


def test_more_growth_leaves_fewer_minutiae() -> None:
    few, many = (
        sum(len(draw_finger(1, i, parameters=MasterParameters(iterations=n)).minutiae) for i in range(3))
        for n in (60, 8)
    )
    assert few < 0.7 * many


def test_the_period_is_what_was_asked_for() -> None:
    for period in (8.0, 10.0):
        finger = draw_finger(4, 0, parameters=MasterParameters(period_px=period, period_spread=0.0))
        rows = np.fft.rfftfreq(2048)
        spectrum = np.abs(np.fft.rfft(finger.ridges[60:160, 180:204], 2048, axis=0)).sum(axis=1)
        band = (rows > 1 / 14) & (rows < 1 / 5)
        assert 1 / rows[band][spectrum[band].argmax()] == pytest.approx(period, rel=0.15)


def test_pores_lie_on_ridges(finger: MasterFinger) -> None:
    assert (finger.pores > 0.9).sum() > 500
    assert np.percentile(finger.ridges[finger.pores > 0.9], 1) > 0.4


def test_arrays_are_read_only(finger: MasterFinger) -> None:
    assert not any(a.flags.writeable for a in (finger.ridges, finger.inside, finger.pores))


@pytest.mark.parametrize(("seed", "index"), [(-1, 0), (0, -1)])
def test_negative_numbers_are_refused(seed: int, index: int) -> None:
    with pytest.raises(InvalidInputError, match="seed and indices"):
        draw_finger(seed, index)


@pytest.mark.parametrize("changed", [{"period_px": 5.0}, {"period_spread": 0.2}, {"iterations": 4}])
def test_parameters_out_of_range_are_refused(changed: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(changed))):
        MasterParameters(**changed)  # type: ignore[arg-type]
