import numpy as np
import pytest

from biometrik.errors import InvalidInputError
from biometrik.fingers import Minutiae
from biometrik.synthetic.agreement import Agreement, agreement

_CONTACT = np.ones((200, 200), dtype=bool)


def _minutiae(*rows: tuple[float, float, float]) -> Minutiae:
    x, y, direction = np.array(rows, dtype=np.float32).reshape(-1, 3).T.copy()
    count = np.ones(len(x), np.uint8)
    return Minutiae(x, y, direction, count, count, 200, 200)


def test_equal_sets_agree() -> None:
    both = _minutiae((50, 50, 1), (100, 100, 6.2))
    assert agreement(both, both, _CONTACT) == Agreement(2, 2, 2)


@pytest.mark.parametrize(
    ("moved", "agreed"),
    [((57.9, 50, 1), 1), ((58.1, 50, 1), 0), ((50, 50, 1.34), 1), ((50, 50, 1.36), 0), ((50, 50, 0.66), 1)],
)
def test_pairs_are_near_and_point_alike(moved: tuple[float, float, float], agreed: int) -> None:
    assert agreement(_minutiae(moved), _minutiae((50, 50, 1)), _CONTACT) == Agreement(agreed, 1, 1)


def test_directions_agree_across_the_turn() -> None:
    assert agreement(_minutiae((50, 50, 6.2)), _minutiae((50, 50, 0.05)), _CONTACT).agreed == 1


def test_each_is_paired_once_nearest_first() -> None:
    true = _minutiae((50, 50, 1), (56, 50, 1))
    assert agreement(_minutiae((52, 50, 1)), true, _CONTACT) == Agreement(1, 1, 2)
    # The nearest pair is found's second and true's first; what is left is too far apart.
    assert agreement(_minutiae((43, 50, 1), (51, 50, 1)), true, _CONTACT) == Agreement(1, 2, 2)


def test_only_what_lies_within_the_margin_counts_and_its_partner() -> None:
    contact = np.zeros((200, 200), dtype=bool)
    contact[50:150, 50:150] = True
    inside, astride = (70, 100, 1), (60, 100, 1)
    true = _minutiae((64, 100, 1), (120, 100, 1))
    assert agreement(_minutiae(inside), _minutiae(astride), contact, margin_px=12) == Agreement(0, 1, 0)
    assert agreement(_minutiae(astride), true, contact, margin_px=12) == Agreement(1, 1, 2)
    assert agreement(_minutiae(astride), true, contact, margin_px=20) == Agreement(0, 0, 1)


def test_nothing_agrees_with_nothing() -> None:
    empty = agreement(_minutiae(), _minutiae(), _CONTACT)
    assert (empty.precision, empty.recall) == (1.0, 1.0)
    assert agreement(_minutiae(), _minutiae((100, 100, 0)), _CONTACT).recall == 0.0


def test_counts_add_up() -> None:
    both = Agreement(3, 4, 6) + Agreement(1, 1, 2)
    assert (both.precision, both.recall) == (0.8, 0.5)


def test_what_does_not_fit_is_refused() -> None:
    none = _minutiae()
    with pytest.raises(InvalidInputError, match="contact"):
        agreement(none, none, np.ones((4, 4)))  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="margin_px"):
        agreement(none, none, _CONTACT, margin_px=-1)
