"""The bytes of a finger template: small, exact to their unit, and safe to read from anywhere."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from biometrik.errors import TemplateFormatError
from biometrik.fingerprint.payload import pack, unpack
from biometrik.fingers import Minutiae
from biometrik.types import Modality, Template


def _minutiae(seed: int, count: int, width: int = 388, height: int = 374) -> Minutiae:
    rng = np.random.default_rng(seed)
    return Minutiae(
        rng.uniform(0, width - 1, count).astype(np.float32),
        rng.uniform(0, height - 1, count).astype(np.float32),
        rng.uniform(0, 2 * np.pi, count).astype(np.float32),
        rng.integers(0, 3, count).astype(np.uint8),
        rng.integers(0, 101, count).astype(np.uint8),
        width,
        height,
    )


@given(st.integers(0, 1 << 30), st.integers(0, 255), st.integers(1, 4096), st.integers(1, 4096))
@settings(deadline=None)
@example(0, 0, 1, 1)
@example(0, 255, 4096, 4096)
def test_what_was_packed_comes_back(seed: int, count: int, width: int, height: int) -> None:
    before = _minutiae(seed, count, width, height)
    after = unpack(pack(before))
    assert (after.width_px, after.height_px) == (width, height)
    np.testing.assert_allclose(after.x, before.x, atol=1 / 16 + 1e-3)
    np.testing.assert_allclose(after.y, before.y, atol=1 / 16 + 1e-3)
    turned = (after.direction.astype(np.float64) - before.direction + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(turned).max(initial=0) <= np.pi / 65536 + 1e-6
    np.testing.assert_array_equal(after.kind, before.kind)
    np.testing.assert_array_equal(after.quality, before.quality)


@given(st.integers(0, 1 << 30), st.integers(0, 40))
def test_what_came_back_packs_to_the_same_bytes(seed: int, count: int) -> None:
    data = pack(_minutiae(seed, count))
    assert pack(unpack(data)) == data


def test_the_layout_is_the_documented_one() -> None:
    def one(value: float, dtype: type) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        return np.array([value], dtype=dtype)

    minutia = Minutiae(
        one(100.5, np.float32),
        one(4095.99, np.float32),
        one(np.pi / 2, np.float32),
        one(2, np.uint8),  # type: ignore[arg-type]
        one(87, np.uint8),  # type: ignore[arg-type]
        388,
        4096,
    )
    assert pack(minutia).hex(" ") == "01 01 84 01 00 10 24 03 ff ff 00 40 57"


def test_a_whole_turn_is_none() -> None:
    nearly = np.nextafter(np.float32(2 * np.pi), np.float32(0))
    values = np.array([nearly], dtype=np.float32)
    ones = np.ones(1, dtype=np.uint8)
    assert unpack(pack(Minutiae(ones.astype(np.float32), values * 0, values, ones, ones, 9, 9))).direction[0] == 0


def test_forty_minutiae_fit_into_400_bytes_of_template() -> None:
    payload = pack(_minutiae(1, 40))
    assert len(payload) == 286
    template = Template(Modality.FINGER, "leader@0123456789ab", payload, position=2)
    assert len(template.to_bytes()) <= 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[:5], "at least 6 bytes"),
        (lambda d: b"\x02" + d[1:], "expected version 1, got 2"),
        (lambda d: d[:-1], "bytes for 4 minutiae"),
        (lambda d: d + b"\0", "bytes for 4 minutiae"),
        (lambda d: d[:2] + b"\0\0" + d[4:], "size"),
        (lambda d: d[:2] + b"\x01\x10" + d[4:], "size"),
        (lambda d: d[:-1] + b"\x65", "quality"),
        (lambda d: d[:7] + b"\xff\x00\xff" + d[10:], "kind"),
    ],
)
def test_what_cannot_be_is_refused(change: object, message: str) -> None:
    assert callable(change)
    with pytest.raises(TemplateFormatError, match=message):
        unpack(change(pack(_minutiae(3, 4))))


@given(st.binary(max_size=64), st.integers(0, 1 << 30))
@settings(max_examples=500)
def test_any_bytes_are_read_or_refused(noise: bytes, seed: int) -> None:
    rng = np.random.default_rng(seed)
    changed = bytearray(pack(_minutiae(seed, int(rng.integers(0, 9)))))
    for _ in range(int(rng.integers(1, 4))):
        changed[rng.integers(len(changed))] = rng.integers(256)
    for data in (noise, bytes(changed), bytes(changed[: rng.integers(len(changed))])):
        try:
            found = unpack(data)
        except TemplateFormatError:
            continue
        assert len(found) == data[1]
        assert pack(found) == data
