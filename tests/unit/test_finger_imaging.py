"""Bytes to prints: formats, resolutions that can be believed, and bytes that cannot."""

import contextlib
import importlib.machinery
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from biometrik import finger_imaging
from biometrik.errors import (
    DamagedImageError,
    ImageError,
    ImageTooLargeError,
    InvalidInputError,
    ResolutionMissingError,
    UnsupportedFormatError,
)
from biometrik.finger_imaging import decode_print, raw_print, read_print, stated_ppi
from biometrik.fingers import FingerPosition, Impression
from biometrik.imaging import ImageLimits

Pixels = NDArray[np.uint8]


@pytest.fixture
def pixels(rng: np.random.Generator) -> Pixels:
    return rng.integers(0, 256, (48, 64)).astype(np.uint8)


def _encoded(pixels: Pixels, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format, **options)
    return out.getvalue()


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "JPEG2000"])
def test_pixels_come_as_they_are(pixels: Pixels, format: str) -> None:
    found = decode_print(
        _encoded(pixels, format), ppi=512, position=FingerPosition.LEFT_RING, impression=Impression.LIVE_ROLLED
    )
    np.testing.assert_array_equal(found.pixels, pixels)
    assert (found.ppi, found.position, found.impression) == (512, FingerPosition.LEFT_RING, Impression.LIVE_ROLLED)


def test_jpeg_comes_nearly_so() -> None:
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    found = decode_print(_encoded(smooth, "JPEG", quality=95), ppi=500)
    assert np.abs(found.pixels.astype(int) - smooth).max() <= 4


def test_colours_become_gray_by_their_weights() -> None:
    rgb = np.zeros((40, 40, 3), dtype=np.uint8)
    rgb[:] = (200, 100, 50)
    found = decode_print(_encoded(rgb, "PNG"), ppi=500)
    assert abs(int(found.pixels[0, 0]) - (0.299 * 200 + 0.587 * 100 + 0.114 * 50)) <= 1


def test_a_file_is_read(pixels: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "print.png"
    path.write_bytes(_encoded(pixels, "PNG", dpi=(500, 500)))
    found = read_print(path, position=FingerPosition.RIGHT_THUMB)
    assert (found.ppi, found.position) == (500, FingerPosition.RIGHT_THUMB)
    with pytest.raises(InvalidInputError, match="got nothing of that name"):
        read_print(tmp_path / "none.png", ppi=500)


# Resolutions.


def _stating(pixels: Pixels, format: str, ppi: float) -> bytes:
    return _encoded(pixels, format, dpi=(ppi, ppi))


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "JPEG"])
@pytest.mark.parametrize(
    ("stated", "believed"), [(500, 500), (497, 500), (1000, 1000), (1008, 1000), (72, None), (300, None), (600, None)]
)
def test_what_a_scanner_has_is_believed(pixels: Pixels, format: str, stated: int, believed: float | None) -> None:
    data = _stating(pixels, format, stated)
    assert stated_ppi(data) == believed
    if believed is None:
        with pytest.raises(ResolutionMissingError, match="ppi: expected the resolution") as refused:
            decode_print(data)
        assert refused.value.reason == "RESOLUTION_MISSING"
        assert isinstance(refused.value, InvalidInputError)
    else:
        assert decode_print(data).ppi == believed


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "JPEG", "JPEG2000"])
def test_nothing_stated_is_nothing_believed(pixels: Pixels, format: str) -> None:
    data = _encoded(pixels, format)
    assert stated_ppi(data) is None
    with pytest.raises(ResolutionMissingError):
        decode_print(data)


def test_what_the_caller_says_counts_first(pixels: Pixels) -> None:
    assert decode_print(_stating(pixels, "PNG", 1000), ppi=500).ppi == 500
    for ppi in (0, 72, 1200, float("nan")):
        with pytest.raises(InvalidInputError, match=r"ppi: expected 250\.\.1000"):
            decode_print(_stating(pixels, "PNG", 500), ppi=ppi)


def test_both_axes_must_agree(pixels: Pixels) -> None:
    assert stated_ppi(_encoded(pixels, "PNG", dpi=(500, 1000))) is None
    assert stated_ppi(_encoded(pixels, "TIFF", dpi=(500, 96))) is None


def _tiff(order: str, unit: int, over: int, under: int) -> bytes:
    entries = [(282, 5, 1, 100), (283, 5, 1, 100)]
    directory = b"".join(struct.pack(order + "HHII", *entry) for entry in entries)
    directory += struct.pack(order + "HHIHH", 296, 3, 1, unit, 0)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 3)
    return (head + directory).ljust(100, b"\0") + struct.pack(order + "II", over, under)


def test_units_are_told_apart(pixels: Pixels) -> None:
    for order in "<>":
        assert stated_ppi(_tiff(order, 2, 1000, 2)) == 500
        assert stated_ppi(_tiff(order, 3, 1969, 10)) == 500
        assert stated_ppi(_tiff(order, 1, 500, 1)) is None
        assert stated_ppi(_tiff(order, 2, 500, 0)) is None
    jpeg = bytearray(_stating(pixels, "JPEG", 500))
    at = jpeg.index(b"JFIF\0") + 7
    jpeg[at : at + 5] = struct.pack(">BHH", 2, 197, 197)
    assert stated_ppi(bytes(jpeg)) == 500
    jpeg[at] = 0
    assert stated_ppi(bytes(jpeg)) is None


def test_jpeg_2000_states_its_capture(pixels: Pixels) -> None:
    data = _encoded(pixels, "JPEG2000")
    at = data.index(b"jp2h") - 4
    (length,) = struct.unpack_from(">I", data, at)

    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I4s", len(body) + 8, kind) + body

    def with_resolution(kind: bytes) -> bytes:
        resolution = box(b"res ", box(kind, struct.pack(">HHHHbb", 19685, 1, 39370, 2, 0, 0)))
        header = struct.pack(">I", length + len(resolution)) + data[at + 4 : at + length] + resolution
        return data[:at] + header + data[at + length :]

    assert stated_ppi(with_resolution(b"resc")) == 500
    assert stated_ppi(with_resolution(b"resd")) is None  # how to show it, not how it was taken
    assert decode_print(with_resolution(b"resc")).ppi == 500


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["PNG", "BMP", "TIFF", "JPEG", "JPEG2000"]), st.data())
def test_a_damaged_statement_is_none(format: str, data: st.DataObject) -> None:
    plain = np.full((32, 32), 99, dtype=np.uint8)
    whole = bytearray(_encoded(plain, format, dpi=(500, 500)) if format != "JPEG2000" else _encoded(plain, format))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(8, min(len(whole), 200) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(8, len(whole)))])
    assert stated_ppi(cut) in (None, 500.0, 1000.0)
    with contextlib.suppress(ImageError):
        assert decode_print(cut, ppi=500).pixels.dtype == np.uint8


# What is refused.


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"%PDF-1.4", b"\0" * 100])
def test_other_formats_are_named(data: bytes) -> None:
    with pytest.raises(UnsupportedFormatError, match="expected PNG, JPEG, BMP, TIFF, JPEG 2000 or WSQ"):
        decode_print(data, ppi=500)


def test_limits_are_those_of_photographs(pixels: Pixels) -> None:
    data = _encoded(pixels, "PNG")
    with pytest.raises(ImageTooLargeError):
        decode_print(data, ppi=500, limits=ImageLimits(max_bytes=100))
    with pytest.raises(ImageTooLargeError):
        decode_print(data, ppi=500, limits=ImageLimits(max_side_px=50))
    with pytest.raises(DamagedImageError):
        decode_print(data[:-40], ppi=500)
    with pytest.raises(UnsupportedFormatError, match="8 bits a channel, got 16"):
        decode_print(_encoded(pixels.astype(np.uint16), "PNG"), ppi=500)
    with pytest.raises(InvalidInputError, match="expected bytes, got bytearray"):
        decode_print(bytearray(data), ppi=500)  # type: ignore[arg-type]


# Raw pixels.


def test_raw_pixels_are_taken_as_they_are(pixels: Pixels) -> None:
    found = raw_print(pixels.tobytes(), width_px=64, height_px=48, ppi=500, position=FingerPosition.LEFT_INDEX)
    np.testing.assert_array_equal(found.pixels, pixels)
    assert found.position is FingerPosition.LEFT_INDEX


@pytest.mark.parametrize(
    ("width", "height", "error", "message"),
    [
        (64, 47, DamagedImageError, "expected 3008 bytes of raw pixels, got 3072"),
        (64, 49, DamagedImageError, "expected 3136 bytes"),
        (0, 48, ImageError, "at least 32 px"),
        (-64, -48, ImageError, "at least 32 px"),
        (1 << 40, 48, ImageTooLargeError, "at most"),
    ],
)
def test_raw_pixels_must_fill_their_size(width: int, height: int, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        raw_print(bytes(3072), width_px=width, height_px=height, ppi=500)


# WSQ: a stand-in for the package, which is not in every environment.


def _wsq(width: int = 64, height: int = 48, body: bytes = b"") -> bytes:
    comment = b"\xff\xa8\0\x06abcd"
    frame = b"\xff\xa2" + struct.pack(">HBBHHBHBHBH", 17, 0, 255, height, width, 0, 0, 0, 0, 0, 0)
    return b"\xff\xa0" + comment + frame + body


@pytest.fixture
def wsq_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def install(body: str) -> None:
        path = tmp_path / "_wsq.py"
        path.write_text(f"def decompress(data):\n    {body}\n")
        spec = importlib.machinery.ModuleSpec("_wsq", None, origin=str(path))
        monkeypatch.setattr(finger_imaging, "find_spec", lambda name: spec)

    return install


def test_wsq_is_decoded_in_a_process_of_its_own(wsq_package: Callable[[str], None]) -> None:
    wsq_package("return bytes(data[-4:]) * 768, 64, 48, 500")
    found = decode_print(_wsq(body=b"\x01\x02\x03\x04"))
    assert found.ppi == 500
    assert found.pixels.shape == (48, 64)
    np.testing.assert_array_equal(found.pixels[0, :4], [1, 2, 3, 4])


@pytest.mark.parametrize("ppi", [-1, 0, 72])
def test_a_wsq_without_an_honest_resolution_needs_one(wsq_package: Callable[[str], None], ppi: int) -> None:
    wsq_package(f"return bytes(3072), 64, 48, {ppi}")
    with pytest.raises(ResolutionMissingError):
        decode_print(_wsq())
    assert decode_print(_wsq(), ppi=500).ppi == 500


@pytest.mark.parametrize(
    "body",
    [
        "raise Exception('WSQ Error: -51')",
        "import os; os.abort()",  # what a buffer overrun ends in
        "return bytes(100), 64, 48, 500",
        "return bytes(3072), 48, 64, 500",
        "x = bytearray(1 << 40)",
    ],
)
def test_a_wsq_that_breaks_its_decoder_is_damaged(wsq_package: Callable[[str], None], body: str) -> None:
    wsq_package(body)
    with pytest.raises(DamagedImageError):
        decode_print(_wsq(), ppi=500)


def test_a_wsq_that_hangs_its_decoder_is_damaged(
    wsq_package: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finger_imaging, "_WSQ_TIMEOUT_S", 0.3)
    wsq_package("import time; time.sleep(60)")
    with pytest.raises(DamagedImageError):
        decode_print(_wsq(), ppi=500)


def test_wsq_headers_are_checked_before_anything_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finger_imaging, "find_spec", lambda name: pytest.fail("looked for the decoder"))
    with pytest.raises(ImageTooLargeError):
        decode_print(_wsq(20_000, 20_000), ppi=500)
    with pytest.raises(ImageError, match="at least 32 px"):
        decode_print(_wsq(20, 20), ppi=500)
    for data in (b"\xff\xa0", _wsq()[:18], b"\xff\xa0" + b"\xff\xa8\0\x02" * 5_000, b"\xff\xa0" + zlib.compress(b"x")):
        with pytest.raises(DamagedImageError, match="WSQ frame header"):
            decode_print(data, ppi=500)
    with pytest.raises(ImageTooLargeError):
        decode_print(_wsq(body=bytes(100)), ppi=500, limits=ImageLimits(max_bytes=50))


def test_wsq_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finger_imaging, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedFormatError, match=r"pip install 'biometrik\[wsq\]'"):
        decode_print(_wsq(), ppi=500)
