"""Bytes to pixels: bounded decoding of photographs.

An image is refused or accepted by its header (:mod:`biometrik.image_headers`); only then does Pillow decode it,
through the one plug-in of its format. Whatever goes wrong is an :class:`~biometrik.errors.ImageError`.
"""

import importlib
import io
import stat
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import (
    DamagedImageError,
    ImageError,
    ImageTooLargeError,
    InvalidInputError,
    UnsupportedFormatError,
)
from biometrik.image_headers import ImageHeader, read_header, stripped

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Bounds that hold before anything is allocated.

    Parameters
    ----------
    max_bytes : int
        Longest encoded image.
    max_side_px : int
        Longest side.
    max_pixels : int
        Most pixels. Decoding takes up to 20 bytes a pixel at its peak (JPEG and PNG 8 to 10, WebP and JPEG 2000
        most) and twice the encoded image; the array that stays has 3.
    min_side_px : int
        Shortest side. 32: in any less there is no face of the 10 px that a detector finds with room around it.

    Raises
    ------
    InvalidInputError
        A bound is below 1.
    """

    max_bytes: int = 32 << 20
    max_side_px: int = 16_384
    max_pixels: int = 64_000_000
    min_side_px: int = 32

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_side_px", "max_pixels", "min_side_px"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name}: expected at least 1, got {getattr(self, name)}")


DEFAULT_LIMITS: Final = ImageLimits()


def read_file(path: str | PathLike[str], *, limits: ImageLimits = DEFAULT_LIMITS) -> bytes:
    """Return the bytes of an image file, to be decoded by :func:`decode_rgb`.

    Parameters
    ----------
    path : str or path-like
        A regular file.
    limits : ImageLimits
        One byte more than ``max_bytes`` is read of a file that is longer, so that decoding refuses it.

    Raises
    ------
    InvalidInputError
        There is no such file, it is not a regular file, or it cannot be read.
    """
    try:
        file = Path(path)
        if not stat.S_ISREG(file.stat().st_mode):  # a pipe would block, a device never end
            raise InvalidInputError(f"{path}: expected an image file, got a folder or device")
        with file.open("rb") as stream:
            return stream.read(limits.max_bytes + 1)
    except FileNotFoundError:
        raise InvalidInputError(f"{path}: expected an image file, got nothing of that name") from None
    except (OSError, ValueError) as error:
        if isinstance(error, InvalidInputError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(f"{path}: expected a readable image file, got {reason!s}") from error


def read_rgb(path: str | PathLike[str], *, limits: ImageLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Return the pixels of an image file; see :func:`read_file` and :func:`decode_rgb`.

    Returns
    -------
    (H, W, 3) uint8
        RGB, upright, C-contiguous.

    Raises
    ------
    ImageError
        The file is not an image that the library accepts; the subclass says why.
    InvalidInputError
        There is no such file, it is not a regular file, or it cannot be read.
    """
    return decode_rgb(read_file(path, limits=limits), limits=limits)


def decode_rgb(data: bytes, *, limits: ImageLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Return the pixels of an encoded image.

    Gray and palette images become RGB, transparency is laid over white, the orientation of an EXIF block is applied
    (a block that cannot be read counts as none), and colours with an ICC profile other than sRGB are converted to
    sRGB. Of a multi-picture JPEG, as some telephones write it, the first picture is taken.

    Parameters
    ----------
    data : bytes
        JPEG, PNG, BMP, TIFF, WebP or JPEG 2000, whole; 8 bits a channel, one frame.
    limits : ImageLimits
        Bounds on bytes, sides and pixels, checked before pixels are decoded.

    Returns
    -------
    (H, W, 3) uint8
        RGB, upright, C-contiguous.

    Raises
    ------
    UnsupportedFormatError
        Another format; a variant that is refused because it would have to be guessed at: CMYK, other than 8 bits a
        channel, several frames or pages.
    ImageTooLargeError
        More bytes or pixels than ``limits`` allow, or than there is memory for.
    DamagedImageError
        Truncated or corrupt.
    ImageError
        Fewer pixels than ``limits.min_side_px`` a side.
    InvalidInputError
        ``data`` is not bytes.

    Notes
    -----
    Thread-safe; Pillow's global settings and the warning filters are neither read nor changed.

    Examples
    --------
    >>> decode_rgb(b"some text")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    biometrik.errors.UnsupportedFormatError: image: expected JPEG, PNG, BMP, TIFF, WebP or JPEG 2000, got bytes ...
    """
    if not isinstance(data, bytes):
        raise InvalidInputError(f"image: expected bytes, got {type(data).__name__}")
    if len(data) > limits.max_bytes:
        raise ImageTooLargeError(f"image: expected at most {limits.max_bytes} bytes, got more; compress it")
    header = read_header(data)
    check_header(header, limits)
    try:
        return _upright(_pixels(_decoded(data, header)), header.orientation)
    except ImageError:
        raise
    except MemoryError:
        size = f"{header.width_px} x {header.height_px}"
        raise ImageTooLargeError(f"image: expected one that fits into memory, got {size}; scale it down") from None
    except Exception as error:  # hostile bytes make decoders raise almost anything
        message = f"image: expected a whole {header.format}, got a truncated or corrupt one; send it again"
        raise DamagedImageError(message) from error


def format_of(data: bytes) -> str:
    """Return which format encoded bytes are in, as ImageHeader.format; "" where they are none that is accepted."""
    try:
        return read_header(data).format
    except ImageError:
        return ""


def encode_png(pixels: NDArray[np.uint8], *, ppi: float | None = None) -> bytes:
    """Return pixels as a PNG that :func:`decode_rgb` reads back exactly.

    Parameters
    ----------
    pixels : (H, W, 3) or (H, W) uint8
        RGB, or gray.
    ppi : float or None
        Pixels an inch, to be stated; None states nothing.
    """
    from PIL import Image

    out = io.BytesIO()
    stated = {} if ppi is None else {"dpi": (ppi, ppi)}
    Image.fromarray(pixels).save(out, "PNG", compress_level=1, **stated)
    return out.getvalue()


def check_header(header: ImageHeader, limits: ImageLimits) -> None:
    """Refuse an image by what it claims to be, before anything is allocated for it.

    Raises
    ------
    ImageTooLargeError
        More pixels, or a longer side, than ``limits`` allow.
    ImageError
        Fewer pixels than ``limits.min_side_px`` a side.
    UnsupportedFormatError
        CMYK, other than 8 bits a channel, several frames or pages.
    """
    width, height = header.width_px, header.height_px
    size = f"{width} x {height}"
    if max(width, height) > limits.max_side_px:
        raise ImageTooLargeError(f"image: expected at most {limits.max_side_px} px a side, got {size}; scale it down")
    if width * height > limits.max_pixels:
        raise ImageTooLargeError(f"image: expected at most {limits.max_pixels} pixels, got {size}; scale it down")
    if min(width, height) < limits.min_side_px:
        raise ImageError(f"image: expected at least {limits.min_side_px} px a side, got {size}; take a larger one")
    if header.several:
        raise UnsupportedFormatError("image: expected one frame, got several; save the one that is meant")
    if header.cmyk:
        raise UnsupportedFormatError("image: expected RGB or gray, got CMYK; convert it to RGB")
    if header.bits != 8:
        raise UnsupportedFormatError(f"image: expected 8 bits a channel, got {header.bits}; convert it to 8")


#: Pillow's plug-in of each format. Each is opened by itself: ``Image.open`` would try others, and warns through
#: global state about sizes that were checked here.
_PLUGINS: Final = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "JPEG2000": ("PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
}
_MODES: Final = frozenset(("L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr"))


def _decoded(data: bytes, header: ImageHeader) -> "Image":
    # The image in Pillow's hands, as 8-bit RGB.
    module, name = _PLUGINS[header.format]
    plugin: type[ImageFile] = getattr(importlib.import_module(module), name)
    image = plugin(io.BytesIO(stripped(data, header.format)))
    if image.size != (header.width_px, header.height_px):
        raise DamagedImageError("image: expected one size, got two that differ in its headers")
    if image.mode not in _MODES:
        raise UnsupportedFormatError(f"image: expected RGB or gray, got {image.mode}; convert it to RGB")
    image.load()
    return _in_srgb(_opaque(image), image.info.get("icc_profile"))


def _opaque(image: "Image") -> "Image":
    from PIL import Image

    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    layer = image if image.mode == "RGBA" else image.convert("RGBA")
    ground = Image.new("RGB", layer.size, "white")
    ground.paste(layer, mask=layer.getchannel("A"))
    return ground


def _in_srgb(image: "Image", profile: bytes | None) -> "Image":
    if not profile:
        return image
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" not in ImageCms.getProfileDescription(source):
            ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), inPlace=True)
    except (ImageCms.PyCMSError, OSError):
        pass  # a profile that is damaged or not for RGB: the colours as they are stored
    return image


#: Rows copied from Pillow at a time: one copy of the image in memory instead of two.
_STRIP_ROWS: Final = 256


def _pixels(image: "Image") -> NDArray[np.uint8]:
    width, height = image.size
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    for top in range(0, height, _STRIP_ROWS):
        bottom = min(top + _STRIP_ROWS, height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, width, bottom)))
    return pixels


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    # EXIF 2.3, tag 0x0112: 5..8 are transposed; then some are mirrored across and some upside down.
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
