"""Pictures show minutiae and pairs where they are."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingerprint.drawing import draw_minutiae, draw_pairs
from biometrik.fingers import FingerprintImage, Minutiae

WHITE = FingerprintImage(np.full((120, 100), 255, dtype=np.uint8), 500.0)


def _minutiae(*rows: tuple[float, float, float, int], size: tuple[int, int] = (100, 120)) -> Minutiae:
    x, y, direction, kind = np.array(rows, dtype=np.float32).reshape(-1, 4).T
    quality = np.full(len(rows), 90, dtype=np.uint8)
    return Minutiae(x, y, direction, kind.astype(np.uint8), quality, *size)


def _decoded(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), dtype=np.uint8)


def _dark(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray(picture.min(axis=2) < 200)


def test_marks_lie_around_their_minutia_and_lines_along_its_direction() -> None:
    marked = _dark(_decoded(draw_minutiae(WHITE, _minutiae((50, 60, np.pi / 2, 1)))))
    assert marked.shape == (240, 200)
    y, x = np.nonzero(marked)
    assert (x.min(), x.max(), y.min()) == pytest.approx((92, 110, 112), abs=2)
    assert y.max() == pytest.approx(152, abs=2)  # downward


def test_kinds_differ_in_colour_and_shape() -> None:
    ending, fork = (_decoded(draw_minutiae(WHITE, _minutiae((50, 60, 0, kind)))) for kind in (1, 2))
    assert ending[_dark(ending)].mean(axis=0).argmax() == 2  # reddish, BGR
    assert fork[_dark(fork)].mean(axis=0).argmax() == 0  # bluish
    assert _dark(fork).sum() > _dark(ending).sum()


def test_pairs_are_joined_and_the_others_pale() -> None:
    left, right = _minutiae((30, 30, 0, 1), (70, 90, 0, 1)), _minutiae((40, 50, 0, 1), (80, 20, 0, 1))
    none = _decoded(draw_pairs(WHITE, left, WHITE, right, []))
    one = _decoded(draw_pairs(WHITE, left, WHITE, right, np.array([[0, 0]])))
    assert none.shape == one.shape == (240, 200 + 24 + 200, 3)
    between = slice(200, 224)
    assert (none[:, between] == 255).all()
    assert _dark(one)[:, between].any(axis=0).all()
    assert np.ptp(none[_dark(none)].astype(int), axis=1).max() == 0  # gray


def test_prints_of_any_resolution_and_size() -> None:
    coarse = FingerprintImage(np.full((60, 50), 255, dtype=np.uint8), 250.0)
    assert _decoded(draw_minutiae(coarse, _minutiae((50, 60, 0, 1)))).shape == (240, 200, 3)
    tall = FingerprintImage(np.full((200, 100), 255, dtype=np.uint8), 500.0)
    both = draw_pairs(coarse, _minutiae((50, 60, 0, 1)), tall, _minutiae((5, 6, 0, 2), size=(100, 200)), [(0, 0)])
    assert _decoded(both).shape == (400, 424, 3)


def test_what_does_not_belong_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="minutiae: expected those of a print of 100 x 120"):
        draw_minutiae(WHITE, _minutiae((5, 5, 0, 1), size=(90, 120)))
    one = _minutiae((50, 60, 0, 1))
    for pairs in ([(0, 1)], [(-1, 0)]):
        with pytest.raises(InvalidInputError, match="pairs: expected indices below 1 and 1"):
            draw_pairs(WHITE, one, WHITE, one, pairs)
