import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biometrik.errors import InvalidInputError
from biometrik.synthetic.distortion import SkinDistortion

_traction = st.floats(-14, 14)
_skins = st.builds(
    SkinDistortion,
    torsion_rad=st.floats(-0.2, 0.2),
    traction_px=st.tuples(_traction, _traction),
    centre_px=st.tuples(st.floats(-30, 30), st.floats(-30, 30)),
    stuck_px=st.tuples(st.floats(60, 90), st.floats(60, 90)),
    softness=st.floats(1.4, 4),
)


@given(_skins, st.floats(-180, 180), st.floats(-260, 260))
@settings(max_examples=200, deadline=None)
def test_back_and_forth_is_the_same_point(skin: SkinDistortion, x: float, y: float) -> None:
    glass = skin.to_glass(np.array([x]), np.array([y]))
    back_x, back_y = skin.to_finger(*glass)
    assert math.hypot(back_x[0] - x, back_y[0] - y) < 1e-3


def test_what_sticks_stays_and_the_rest_turns_and_slides() -> None:
    skin = SkinDistortion(torsion_rad=0.1, traction_px=(3.0, -2.0))
    x, y = skin.to_finger(np.array([0.0, 40.0, 400.0]), np.array([0.0, -40.0, 0.0]))
    np.testing.assert_allclose((x[:2], y[:2]), ([0, 40], [0, -40]))
    np.testing.assert_allclose((x[2], y[2]), (400 * math.cos(0.1) + 3, 400 * math.sin(0.1) - 2))


def test_nothing_is_the_identity_and_keeps_the_dtype() -> None:
    x = np.linspace(-100, 100, 5, dtype=np.float32)
    back_x, back_y = SkinDistortion().to_finger(x, x)
    np.testing.assert_array_equal((back_x, back_y), (x, x))
    assert back_x.dtype == np.float32


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"torsion_rad": 0.3}, "torsion_rad"),
        ({"torsion_rad": math.nan}, "torsion_rad"),
        ({"traction_px": (0.0, 15.0)}, "traction_px"),
        ({"stuck_px": (70.0, 30.0)}, "stuck_px"),
        ({"softness": 1.0}, "softness"),
    ],
)
def test_what_would_fold_is_refused(changed: dict[str, float], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        SkinDistortion(**changed)  # type: ignore[arg-type]
