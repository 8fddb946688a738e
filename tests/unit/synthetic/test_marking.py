import io

import numpy as np
import pytest
from PIL import Image

from biometrik.errors import InvalidInputError
from biometrik.finger_imaging import decode_print
from biometrik.fingers import FingerprintImage
from biometrik.synthetic.marking import MARK, png, stamped


@pytest.fixture
def image(rng: np.random.Generator) -> FingerprintImage:
    return FingerprintImage(rng.integers(0, 256, (96, 128), dtype=np.uint8), 500.0)


def test_a_file_says_that_it_is_synthetic_and_its_resolution(image: FingerprintImage) -> None:
    with Image.open(io.BytesIO(png(image))) as opened:
        opened.load()
        assert opened.info["Source"] == MARK
        assert "SYNTHETIC" in MARK
        assert opened.info["dpi"][0] == pytest.approx(500, abs=0.1)


def test_a_file_is_read_back_as_it_was(image: FingerprintImage) -> None:
    back = decode_print(png(image))
    np.testing.assert_array_equal(back.pixels, image.pixels)
    assert back.ppi == 500.0


def test_the_word_is_drawn_only_on_request_and_only_at_the_bottom(image: FingerprintImage) -> None:
    drawn = decode_print(png(image, drawn=True)).pixels
    np.testing.assert_array_equal(drawn[:70], image.pixels[:70])
    assert (drawn[70:] != image.pixels[70:]).any()


def test_too_small_for_the_word_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="pixels"):
        stamped(np.zeros((20, 200), np.uint8))
