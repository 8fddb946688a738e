"""Decoding: what is accepted comes out right, what is refused says why, and nothing takes more memory than said."""

import io
import os
import struct
import subprocess
import sys
import textwrap
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from biometrik.errors import (
    DamagedImageError,
    ImageError,
    ImageTooLargeError,
    InvalidInputError,
    UnsupportedFormatError,
)
from biometrik.image_headers import ImageHeader, read_header
from biometrik.imaging import ImageLimits, decode_rgb, read_rgb


def drawing() -> NDArray[np.uint8]:
    """Return 48 × 64 blocks of colour without any symmetry."""
    coarse = np.random.default_rng(1).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((4, 4, 1), dtype=np.uint8))


def encode(pixels: NDArray[np.uint8], format: str, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, format, **options)
    return stream.getvalue()


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x010F] = "a maker of cameras"
    block[0x0112] = orientation
    return block.tobytes()


def png(width: int, height: int, *chunks: tuple[bytes, bytes], bits: int = 8, colour: int = 2) -> bytes:
    """Return a PNG of these chunks after its IHDR, whether they make sense or not."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    encoded = b"\x89PNG\r\n\x1a\n"
    for kind, body in (header, *chunks, (b"IEND", b"")):
        encoded += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return encoded


DRAWING = drawing()
LOSSLESS = {
    "png": encode(DRAWING, "PNG"),
    "bmp": encode(DRAWING, "BMP"),
    "tiff": encode(DRAWING, "TIFF"),
    "tiff-lzw": encode(DRAWING, "TIFF", compression="tiff_lzw"),
    "tiff-deflate": encode(DRAWING, "TIFF", compression="tiff_adobe_deflate"),
    "tiff-packbits": encode(DRAWING, "TIFF", compression="packbits"),
    "webp": encode(DRAWING, "WEBP", lossless=True),
    "jp2": encode(DRAWING, "JPEG2000"),
    "j2k": encode(DRAWING, "JPEG2000", no_jp2=True),
}
LOSSY = {
    "jpeg": encode(DRAWING, "JPEG", quality=95, subsampling=0, exif=exif(1)),
    "jpeg-progressive": encode(DRAWING, "JPEG", quality=95, subsampling=0, progressive=True),
    "tiff-jpeg": encode(DRAWING, "TIFF", compression="jpeg", quality=95),
    "webp-lossy": encode(np.repeat(np.repeat(DRAWING, 4, 0), 4, 1), "WEBP", quality=95),
}


class TestAccepted:
    @pytest.mark.parametrize("name", LOSSLESS)
    def test_lossless_formats_return_the_pixels(self, name: str) -> None:
        pixels = decode_rgb(LOSSLESS[name])
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        np.testing.assert_array_equal(pixels, DRAWING)

    @pytest.mark.parametrize("name", LOSSY)
    def test_lossy_formats_return_nearly_the_pixels(self, name: str) -> None:
        pixels = decode_rgb(LOSSY[name])
        factor = pixels.shape[0] // DRAWING.shape[0]
        difference = pixels[::factor, ::factor].astype(int) - DRAWING
        assert abs(difference).mean() < 16  # channels in the wrong order would give 85

    @pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "BMP", "JPEG2000"])
    def test_gray_becomes_three_equal_channels(self, format: str) -> None:
        pixels = decode_rgb(encode(DRAWING, format, "L"))
        assert (pixels == pixels[:, :, :1]).all()
        expected = np.asarray(Image.fromarray(DRAWING).convert("L"))
        assert abs(pixels[:, :, 0].astype(int) - expected).mean() < 8

    @pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP"])
    def test_palette_becomes_its_colours(self, format: str) -> None:
        expected = np.asarray(Image.fromarray(DRAWING).convert("P").convert("RGB"))
        np.testing.assert_array_equal(decode_rgb(encode(DRAWING, format, "P")), expected)

    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    @pytest.mark.parametrize("format", ["PNG", "TIFF"])
    def test_transparency_is_laid_over_white(self, mode: str, format: str) -> None:
        image = Image.new(mode, (40, 40), (100, 100, 100, 255) if mode == "RGBA" else (100, 255))
        image.putalpha(Image.linear_gradient("L").resize((40, 40)))
        stream = io.BytesIO()
        image.save(stream, format)
        alpha = np.asarray(image.getchannel("A"), dtype=float) / 255
        expected = 100 * alpha + 255 * (1 - alpha)
        assert abs(decode_rgb(stream.getvalue()).astype(float) - expected[:, :, None]).max() <= 1

    def test_a_transparent_colour_is_white(self) -> None:
        image = Image.fromarray(DRAWING).quantize(8)
        stream = io.BytesIO()
        image.save(stream, "PNG", transparency=bytes(8))
        assert (decode_rgb(stream.getvalue()) == 255).all()

    @pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation_turns_the_image_upright(self, format: str, orientation: int) -> None:
        tagged = Image.fromarray(DRAWING)
        tagged.getexif()[0x0112] = orientation
        expected = np.asarray(ImageOps.exif_transpose(tagged))
        options = {"quality": 95, "subsampling": 0} if format == "JPEG" else {"lossless": True}
        pixels = decode_rgb(encode(DRAWING, format, exif=exif(orientation), **options))
        assert pixels.flags.c_contiguous
        assert pixels.shape == expected.shape
        assert abs(pixels.astype(int) - expected).mean() < (16 if format == "JPEG" else 0.1)

    def test_the_first_picture_of_a_multi_picture_jpeg_is_taken(self) -> None:
        stream = io.BytesIO()
        first = Image.fromarray(DRAWING)
        first.save(stream, "MPO", save_all=True, append_images=[Image.new("RGB", (64, 48))], quality=95)
        assert abs(decode_rgb(stream.getvalue()).astype(int) - DRAWING).mean() < 25

    def test_a_colour_profile_is_converted_to_srgb(self) -> None:
        # An sRGB profile whose red and green primaries are swapped, under another name.
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        swapped = profile.replace("sRGB".encode("utf-16-be"), "rsGB".encode("utf-16-be"))
        swapped = swapped.replace(b"rXYZ", b"____").replace(b"gXYZ", b"rXYZ").replace(b"____", b"gXYZ")
        red = np.full((40, 40, 3), (250, 10, 10), dtype=np.uint8)
        decoded = decode_rgb(encode(red, "PNG", icc_profile=swapped))
        np.testing.assert_allclose(decoded[0, 0].astype(int), (10, 250, 10), atol=8)
        np.testing.assert_array_equal(decode_rgb(encode(red, "PNG", icc_profile=profile)), red)

    def test_a_colour_profile_that_cannot_be_read_is_ignored(self) -> None:
        np.testing.assert_array_equal(decode_rgb(encode(DRAWING, "PNG", icc_profile=b"no profile")), DRAWING)

    def test_an_exif_block_that_cannot_be_read_is_ignored(self) -> None:
        broken = exif(6)[:6] + b"II*\0\xff\xff\xff\x7f"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pixels = decode_rgb(encode(DRAWING, "JPEG", exif=broken))
        assert pixels.shape == DRAWING.shape
        assert not caught


def _tiff_of_two_pages() -> bytes:
    stream = io.BytesIO()
    page = Image.fromarray(DRAWING)
    page.save(stream, "TIFF", save_all=True, append_images=[page])
    return stream.getvalue()


def _animation(format: str) -> bytes:
    stream = io.BytesIO()
    first = Image.fromarray(DRAWING)
    first.save(stream, format, save_all=True, append_images=[Image.fromarray(DRAWING[::-1])], duration=100)
    return stream.getvalue()


def _gray16(format: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((40, 40), 40_000, dtype=np.uint16)).save(stream, format)
    return stream.getvalue()


def _repeated_scans() -> bytes:
    data = encode(DRAWING, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * 100 + b"\xff\xd9"


REFUSED = {
    "nothing": (b"", UnsupportedFormatError, "no bytes"),
    "text": (b"This is no photograph. " * 20, UnsupportedFormatError, "JPEG, PNG, BMP, TIFF, WebP or JPEG 2000"),
    "gif": (encode(DRAWING, "GIF", "P"), UnsupportedFormatError, "GIF"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(80), UnsupportedFormatError, "HEIC"),
    "pdf": (b"%PDF-1.7\n", UnsupportedFormatError, "PDF"),
    "another riff": (b"RIFF\0\0\0\0WAVEfmt " + bytes(40), UnsupportedFormatError, "RIFF"),
    "1 px": (encode(DRAWING[:1, :1], "PNG"), ImageError, "at least 32 px a side, got 1 x 1"),
    "1 px wide": (encode(DRAWING[:, :1], "JPEG"), ImageError, "at least 32 px a side, got 1 x 48"),
    "no pixel": (png(0, 40), DamagedImageError, "at least 1 pixel"),
    "50,000 px": (png(50_000, 40, (b"IDAT", b"")), ImageTooLargeError, "16384 px a side, got 50000 x 40"),
    "bomb": (png(16_000, 16_000, (b"IDAT", b"")), ImageTooLargeError, "64000000 pixels, got 16000 x 16000"),
    "cmyk jpeg": (encode(DRAWING, "JPEG", "CMYK"), UnsupportedFormatError, "CMYK; convert it to RGB"),
    "cmyk tiff": (encode(DRAWING, "TIFF", "CMYK"), UnsupportedFormatError, "CMYK; convert it to RGB"),
    "lab tiff": (encode(DRAWING, "TIFF", "LAB"), UnsupportedFormatError, "LAB; convert it to RGB"),
    "16-bit gray png": (_gray16("PNG"), UnsupportedFormatError, "8 bits a channel, got 16"),
    "16-bit gray tiff": (_gray16("TIFF"), UnsupportedFormatError, "8 bits a channel, got 16"),
    "16-bit jpeg 2000": (_gray16("JPEG2000"), UnsupportedFormatError, "8 bits a channel, got 16"),
    "16-bit rgb png": (png(40, 40, bits=16), UnsupportedFormatError, "8 bits a channel, got 16"),
    "1-bit png": (encode(DRAWING, "PNG", "1"), UnsupportedFormatError, "8 bits a channel, got 1"),
    "1-bit tiff": (encode(DRAWING, "TIFF", "1"), UnsupportedFormatError, "8 bits a channel, got 1"),
    "fax tiff": (encode(DRAWING, "TIFF", "1", compression="group4"), UnsupportedFormatError, "compression 4"),
    "float tiff": (encode(DRAWING, "TIFF", "F"), UnsupportedFormatError, "8 bits a channel, got 32"),
    "animated png": (_animation("PNG"), UnsupportedFormatError, "one frame, got several"),
    "animated webp": (_animation("WEBP"), UnsupportedFormatError, "one frame, got several"),
    "tiff of two pages": (_tiff_of_two_pages(), UnsupportedFormatError, "one frame, got several"),
    "jpeg of 109 scans": (_repeated_scans(), UnsupportedFormatError, "100 scans"),
    "png of a million chunks": (png(40, 40) + bytes(12) * 60_000, DamagedImageError, "PNG chunks"),
    "png text bomb": (
        png(40, 40, (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(64 << 20), 9)), (b"IDAT", b"")),
        DamagedImageError,
        "corrupt",
    ),
    "png profile bomb": (
        png(40, 40, (b"iCCP", b"p\0\0" + zlib.compress(bytes(64 << 20), 9)), (b"IDAT", b"")),
        DamagedImageError,
        "corrupt",
    ),
    "only a signature": (b"\x89PNG\r\n\x1a\n", DamagedImageError, "truncated"),
    "jpeg without a frame": (b"\xff\xd8\xff\xda\0\x08" + bytes(60), DamagedImageError, "frame header"),
}


class TestRefused:
    @pytest.mark.parametrize("name", REFUSED)
    def test_says_why(self, name: str) -> None:
        data, error, words = REFUSED[name]
        with pytest.raises(error, match=words) as caught:
            decode_rgb(data)
        assert type(caught.value) is error

    @pytest.mark.parametrize("name", LOSSLESS | LOSSY)
    @pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
    def test_truncated(self, name: str, kept: float) -> None:
        data = (LOSSLESS | LOSSY)[name]
        with pytest.raises(DamagedImageError):
            decode_rgb(data[: int(len(data) * kept)])

    def test_more_bytes_than_the_limit(self) -> None:
        with pytest.raises(ImageTooLargeError, match="at most 100 bytes"):
            decode_rgb(LOSSLESS["png"], limits=ImageLimits(max_bytes=100))

    def test_limits_are_inclusive(self) -> None:
        limits = ImageLimits(max_bytes=len(LOSSLESS["png"]), max_side_px=64, max_pixels=48 * 64, min_side_px=48)
        assert decode_rgb(LOSSLESS["png"], limits=limits).shape == (48, 64, 3)

    def test_headers_that_disagree(self) -> None:
        # The JP2 box says 64 x 48, the codestream inside, which the decoder believes, 60 x 48.
        at = LOSSLESS["jp2"].index(b"\xff\x4f\xff\x51") + 8
        data = LOSSLESS["jp2"][:at] + struct.pack(">I", 60) + LOSSLESS["jp2"][at + 4 :]
        with pytest.raises(DamagedImageError, match="two that differ"):
            decode_rgb(data)

    def test_something_that_is_not_bytes(self) -> None:
        with pytest.raises(InvalidInputError, match="expected bytes, got str"):
            decode_rgb("photo.jpg")  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", ["max_bytes", "max_side_px", "max_pixels", "min_side_px"])
    def test_limits_below_one(self, name: str) -> None:
        with pytest.raises(InvalidInputError, match=f"{name}: expected at least 1"):
            ImageLimits(**{name: 0})


class TestHeader:
    """The cases that no encoder at hand writes."""

    def test_sixteen_bit_bmp_has_five_bits_a_channel(self) -> None:
        info = struct.pack("<IiiHHI", 40, 64, -48, 1, 16, 0)
        assert read_header(b"BM" + bytes(12) + info) == ImageHeader("BMP", 64, 48, bits=5)

    def test_compressed_bmp(self) -> None:
        with pytest.raises(UnsupportedFormatError, match="uncompressed BMP"):
            read_header(b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 64, 48, 1, 8, 1))

    def test_os2_bmp(self) -> None:
        info = struct.pack("<IHHHH", 12, 64, 48, 1, 24)
        assert read_header(b"BM" + bytes(12) + info) == ImageHeader("BMP", 64, 48)

    def test_twelve_bit_jpeg(self) -> None:
        frame = b"\xff\xc1" + struct.pack(">HBHHB", 17, 12, 48, 64, 3)
        assert read_header(b"\xff\xd8\xff" + frame) == ImageHeader("JPEG", 64, 48, bits=12)

    def test_jpeg_2000_of_too_many_tiles(self) -> None:
        size = struct.pack(">HHIIIIIIIIHBBB", 41, 0, 1024, 1024, 0, 0, 4, 4, 0, 0, 1, 7, 1, 1)
        with pytest.raises(ImageTooLargeError, match="4096 tiles"):
            read_header(b"\xff\x4f\xff\x51" + size)

    def test_tiff_of_one_huge_tile(self) -> None:
        tags = ((256, 100), (257, 100), (258, 8), (262, 1), (322, 65_520), (323, 65_520))
        directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", t, 4, 1, v) for t, v in tags)
        with pytest.raises(ImageTooLargeError, match="tiles of at most"):
            read_header(b"II*\0" + struct.pack("<I", 8) + directory + bytes(4))

    @pytest.mark.parametrize("tag", [256, 258, 262])
    def test_tiff_tag_that_is_not_a_number(self, tag: int) -> None:
        (directory,) = struct.unpack_from("<I", LOSSLESS["tiff"], 4)
        at = LOSSLESS["tiff"].index(struct.pack("<H", tag), directory + 2) + 2
        assert (at - directory - 4) % 12 == 0
        data = LOSSLESS["tiff"][:at] + struct.pack("<H", 12) + LOSSLESS["tiff"][at + 2 :]  # 12 is DOUBLE
        with pytest.raises(DamagedImageError, match="TIFF"):
            read_header(data)


class TestFiles:
    def test_reads_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "photo.png"
        path.write_bytes(LOSSLESS["png"])
        np.testing.assert_array_equal(read_rgb(path), DRAWING)
        np.testing.assert_array_equal(read_rgb(str(path)), DRAWING)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInputError, match=r"gone\.png: expected an image file, got nothing"):
            read_rgb(tmp_path / "gone.png")

    def test_a_folder_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInputError, match=f"{tmp_path}: expected an image file, got a folder"):
            read_rgb(tmp_path)

    def test_a_pipe_does_not_block(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InvalidInputError, match="pipe: expected an image file"):
            read_rgb(tmp_path / "pipe")

    def test_a_file_that_may_not_be_read_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def deny(self: Path, mode: str) -> None:
            raise PermissionError(13, "Permission denied")

        path = tmp_path / "secret.png"
        path.write_bytes(LOSSLESS["png"])
        monkeypatch.setattr(Path, "open", deny)  # file modes do not stop an administrator
        with pytest.raises(InvalidInputError, match=r"secret\.png: expected a readable .* Permission denied"):
            read_rgb(path)

    def test_an_impossible_name(self) -> None:
        with pytest.raises(InvalidInputError, match="expected a readable image file"):
            read_rgb("photo\0.png")

    def test_a_file_beyond_the_limit_is_not_read_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "endless.png"
        with path.open("wb") as stream:
            stream.truncate(1 << 40)  # sparse: a terabyte that takes no room
        with pytest.raises(ImageTooLargeError, match="bytes"):
            read_rgb(path)


def outcome(data: bytes, limits: ImageLimits) -> NDArray[np.uint8] | ImageError:
    try:
        return decode_rgb(data, limits=limits)
    except ImageError as error:
        return error


def bombs() -> dict[str, bytes]:
    """Return small files that claim to be, or are, many gigabytes of pixels."""
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(150_001)) for _ in range(500)) + packer.flush(zlib.Z_SYNC_FLUSH)
    vp8x = b"VP8X" + struct.pack("<II", 10, 0) + b"\xff\xff\xff" * 2
    siz = struct.pack(">HHIIIIIIIIH", 47, 0, 50_000, 50_000, 0, 0, 50_000, 50_000, 0, 0, 3) + b"\7\1\1" * 3
    small = struct.pack(">I4sI4sIIHBBBB", 30, b"jp2h", 22, b"ihdr", 64, 64, 3, 7, 7, 0, 0)
    tags = ((256, 4, 50_000), (257, 4, 50_000), (258, 3, 8), (262, 3, 1), (273, 4, 8), (279, 4, 8))
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", t, k, 1, v) for t, k, v in tags)
    return {
        "png": png(50_000, 50_000, (b"IDAT", rows)),
        "webp": b"RIFF" + struct.pack("<I", 22) + b"WEBP" + vp8x,
        "j2k": b"\xff\x4f\xff\x51" + siz,
        "jp2": b"\0\0\0\x0cjP  \r\n\x87\n" + small + b"\0\0\0\0jp2c\xff\x4f\xff\x51" + siz,
        "tiff": b"II*\0\x08\0\0\0" + directory + bytes(4),
        "bmp": b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 50_000, 50_000, 1, 24, 0),
        "jpeg": b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 17, 8, 50_000, 50_000, 3) + bytes(9),
        "text": png(64, 64, *[(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1 << 28), 9))] * 9),
        "profile": png(64, 64, (b"iCCP", b"p\0\0" + zlib.compress(bytes(1 << 28), 9))),
    }


class TestHostile:
    @settings(max_examples=1_500, deadline=None, derandomize=True)
    @given(
        name=st.sampled_from(sorted(LOSSLESS | LOSSY)),
        cut=st.floats(0, 1),
        splice=st.sampled_from(sorted(LOSSLESS | LOSSY)),
        flips=st.lists(st.tuples(st.integers(0, 9_999), st.integers(0, 255)), max_size=6),
        near=st.sampled_from([64, 400, 10_000]),
        how=st.sampled_from(["flip", "truncate", "splice", "widen"]),
    )
    def test_mutated_bytes_give_pixels_or_an_image_error(
        self, name: str, cut: float, splice: str, flips: list[tuple[int, int]], near: int, how: str
    ) -> None:
        data = bytearray((LOSSLESS | LOSSY)[name])
        at = int(cut * min(near, len(data) - 1))
        for place, value in flips:
            data[place % min(near, len(data))] = value
        if how == "truncate":
            del data[at:]
        elif how == "splice":
            data[at : at + 40] = (LOSSLESS | LOSSY)[splice][at : at + 40]
        elif how == "widen":
            data[at : at + 4] = b"\xff\xff\xff\xff"
        limits = ImageLimits(max_pixels=1_000_000)
        result = outcome(bytes(data), limits)
        if isinstance(result, ImageError):
            # Warnings are errors in this test run: one from a decoder would stand here as the cause.
            assert not isinstance(result.__cause__, Warning)
        else:
            assert result.ndim == 3
            assert result.shape[0] * result.shape[1] <= 1_000_000

    @settings(derandomize=True)
    @given(st.binary(max_size=200), st.sampled_from([data[:12] for data in LOSSLESS.values()]))
    def test_any_bytes_give_a_header_or_an_image_error(self, tail: bytes, head: bytes) -> None:
        try:
            header = read_header(head + tail)
        except ImageError:
            return
        assert header.width_px > 0
        assert header.height_px > 0
        assert 1 <= header.orientation <= 8

    def test_refusals_take_no_memory(self, tmp_path: Path) -> None:
        """Each bomb, decoded, would take gigabytes; the process may grow by 64 MiB."""
        for name, bomb in bombs().items():
            (tmp_path / name).write_bytes(bomb)
        script = """
            import pathlib
            files = sorted(pathlib.Path(sys.argv[1]).iterdir())
            for name, data in [(file.name, file.read_bytes()) for file in files]:
                limit_memory(64 << 20)
                try:
                    decode_rgb(data)
                except ImageError as error:
                    print(name, type(error).__name__)
        """
        assert run_limited(script, str(tmp_path)).split("\n") == [
            "bmp ImageTooLargeError",
            "j2k ImageTooLargeError",
            "jp2 ImageTooLargeError",
            "jpeg ImageTooLargeError",
            "png ImageTooLargeError",
            "profile DamagedImageError",
            "text DamagedImageError",
            "tiff ImageTooLargeError",
            "webp ImageTooLargeError",
        ]

    def test_decoding_stays_within_the_bytes_a_pixel_that_are_promised(self, tmp_path: Path) -> None:
        noise = Image.effect_noise((750, 750), 50).resize((1_500, 1_500)).convert("RGB")
        formats = ["BMP", "JPEG", "JPEG2000", "PNG", "TIFF", "WEBP"]
        for format in formats:
            noise.save(tmp_path / format, format)
        script = """
            import pathlib
            files = sorted(pathlib.Path(sys.argv[1]).iterdir())
            for file in files:
                decode_rgb(file.read_bytes())  # loads what it needs
            for file in files:
                data = file.read_bytes()
                limit_memory(20 * 2_250_000 + 2 * len(data))
                print(file.name, decode_rgb(data).shape)
        """
        expected = [f"{format} (1500, 1500, 3)" for format in formats]
        assert run_limited(script, str(tmp_path)).split("\n") == expected

    def test_too_little_memory_is_a_typed_error(self) -> None:
        script = """
            import io
            from PIL import Image
            stream = io.BytesIO()
            Image.new("RGB", (8_000, 8_000)).save(stream, "JPEG")
            limit_memory(64 << 20)
            try:
                decode_rgb(stream.getvalue())
            except ImageError as error:
                print(error)
        """
        assert run_limited(script) == ("image: expected one that fits into memory, got 8000 x 8000; scale it down")

    def test_threads_decode_the_same_and_leave_warnings_alone(self) -> None:
        filters = list(warnings.filters)
        wrong: list[str] = []

        def decode() -> None:
            for name, data in LOSSLESS.items():
                if not np.array_equal(decode_rgb(data), DRAWING):
                    wrong.append(name)

        threads = [threading.Thread(target=decode) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert warnings.filters == filters


def run_limited(script: str, *arguments: str) -> str:
    """Run a script in another process, where it may limit its own memory, and return what it prints."""
    prelude = """
import resource, sys
from biometrik.errors import ImageError
from biometrik.imaging import decode_rgb

def limit_memory(growth):
    in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + growth, resource.RLIM_INFINITY))
"""
    command = [sys.executable, "-c", prelude + textwrap.dedent(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_it_loads_no_decoder() -> None:
    assert run_limited("print('PIL' in sys.modules)") == "False"
