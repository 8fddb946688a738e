"""What an encoded image says of itself, read before any decoder sees its bytes.

A decoder allocates what a header asks for, some (WebP, JPEG 2000, tiled TIFF) while they are merely opened. So
format, size, bit depth, frames and orientation are read here by bounds-checked code that allocates nothing, and
:mod:`biometrik.imaging` decides on them.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from biometrik.errors import DamagedImageError, ImageTooLargeError, UnsupportedFormatError


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What an image claims to be.

    Parameters
    ----------
    format : str
        ``JPEG``, ``PNG``, ``BMP``, ``TIFF``, ``WEBP`` or ``JPEG2000``.
    width_px, height_px : int
        As stored, before ``orientation`` is applied; at least 1.
    bits : int
        Of one channel; 8 for an image with a palette.
    cmyk : bool
        Whether the colours are meant for print.
    several : bool
        Whether there is more than one frame or page.
    orientation : int
        1..8 as EXIF has it; 1, upright, where there is none or it cannot be read.
    """

    format: str
    width_px: int
    height_px: int
    bits: int = 8
    cmyk: bool = False
    several: bool = False
    orientation: int = 1


def read_header(data: bytes) -> ImageHeader:
    """Return what an encoded image claims to be.

    Parameters
    ----------
    data : bytes
        The whole encoded image.

    Raises
    ------
    UnsupportedFormatError
        None of the accepted formats, or a variant that no photograph uses.
    ImageTooLargeError
        The image is cut into more tiles than a decoder can hold in bounded memory.
    DamagedImageError
        The header is truncated or contradicts itself.

    Examples
    --------
    >>> read_header(b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 640, -480, 1, 24, 0))
    ImageHeader(format='BMP', width_px=640, height_px=480, bits=8, cmyk=False, several=False, orientation=1)
    """
    for signature, read in _READERS:
        if data.startswith(signature):
            try:
                header = read(data)
            except (struct.error, OverflowError):  # an offset beyond the end, or beyond any file
                raise DamagedImageError("image: expected a whole header, got a truncated one") from None
            if header.width_px < 1 or header.height_px < 1:
                raise DamagedImageError(f"image: expected at least 1 pixel, got {header.width_px} x {header.height_px}")
            return header
    raise UnsupportedFormatError(f"image: expected {_ACCEPTED}, got {_name(data)}; save it as one of these")


def stripped(data: bytes, format: str) -> bytes:
    """Return the image without the metadata over which decoders stumble.

    Pillow reads the EXIF block of a JPEG and all tags of a TIFF, which nobody asked for and which warn, through
    global state, where they are damaged.

    Parameters
    ----------
    data : bytes
        An image that :func:`read_header` has accepted.
    format : str
        As :attr:`ImageHeader.format`.
    """
    if format == "TIFF":
        return _plain_tiff(data)
    return data.replace(_EXIF, bytes(len(_EXIF))) if format == "JPEG" else data


_EXIF: Final = b"Exif\0\0"
_ACCEPTED: Final = "JPEG, PNG, BMP, TIFF, WebP or JPEG 2000"


def _name(data: bytes) -> str:
    # Formats that people send by mistake, so that the error can call them by name.
    if data[4:8] == b"ftyp":
        return {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"avif": "AVIF"}.get(data[8:12], "a video")
    if not data:
        return "no bytes at all"
    for signature, name in ((b"GIF8", "GIF"), (b"%PDF", "PDF"), (b"\xff\xa0", "WSQ"), (b"8BPS", "Photoshop")):
        if data.startswith(signature):
            return name
    return "bytes that begin like none of them"


def _exif_orientation(block: bytes) -> int:
    # EXIF is a TIFF directory. A broken one is common (editors truncate maker notes) and says nothing about the
    # pixels: the photograph is then taken as upright, as every viewer does.
    try:
        order = {b"II*\0": "<", b"MM\0*": ">"}[block[:4]]
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values, value = struct.unpack_from(order + "HHIH", block, entry)
            if (tag, kind, values) == (0x0112, 3, 1):
                return value if 1 <= value <= 8 else 1
    except (KeyError, struct.error):
        pass
    return 1


# --- JPEG: ISO/IEC 10918-1, annex B

#: Frame headers that are Huffman or arithmetic coded, not hierarchical: SOF0–3, SOF9–11.
_JPEG_FRAMES: Final = frozenset((0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA, 0xCB))
#: A progressive file of a few bytes a scan makes the decoder pass over the whole image each time. Encoders write
#: about 10 scans; a multi-picture file holds several such images.
_JPEG_MAX_SCANS: Final = 100


def _jpeg(data: bytes) -> ImageHeader:
    if data.count(b"\xff\xda") > _JPEG_MAX_SCANS:
        raise UnsupportedFormatError(
            f"image: expected a JPEG of at most {_JPEG_MAX_SCANS} scans, got more; save it again as baseline JPEG"
        )
    orientation, at = 1, 2
    while True:
        marker, code, length = struct.unpack_from(">BBH", data, at)
        if marker != 0xFF or code in (0xD8, 0xD9, 0xDA):
            raise DamagedImageError("image: expected a JPEG frame header before the first scan, got none")
        if code == 0xFF:  # fill bytes may precede a marker
            at += 1
            continue
        if code in _JPEG_FRAMES:
            bits, height, width, channels = struct.unpack_from(">BHHB", data, at + 4)
            return ImageHeader("JPEG", width, height, bits, channels == 4, orientation=orientation)
        if code == 0xE1 and data.startswith(_EXIF, at + 4):
            orientation = _exif_orientation(data[at + 10 : at + 2 + length])
        at += 2 + length


# --- PNG: ISO/IEC 15948, clauses 5 and 11, and the APNG extension

#: A chunk costs time whatever its size; 64 MB in the 8 KiB chunks of libpng are 8,000.
_PNG_MAX_CHUNKS: Final = 50_000


def _png(data: bytes) -> ImageHeader:
    length, kind, width, height, bits, colour = struct.unpack_from(">I4sIIBB", data, 8)
    if kind != b"IHDR" or length != 13:
        raise DamagedImageError("image: expected a PNG that begins with its IHDR chunk, got another")
    at, animated, orientation = 8, False, 1
    for _ in range(_PNG_MAX_CHUNKS):
        if at + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"acTL":
            animated = True
        elif kind == b"eXIf":
            orientation = _exif_orientation(data[at + 8 : at + 8 + length])
        at += length + 12
    else:
        raise DamagedImageError(f"image: expected at most {_PNG_MAX_CHUNKS} PNG chunks, got more")
    is_palette = colour == 3
    return ImageHeader("PNG", width, height, 8 if is_palette else bits, several=animated, orientation=orientation)


# --- BMP: Microsoft's BITMAPINFOHEADER and its successors, and OS/2's BITMAPCOREHEADER

_BMP_PLAIN: Final = (0, 3)  # BI_RGB, BI_BITFIELDS


def _bmp(data: bytes) -> ImageHeader:
    (size,) = struct.unpack_from("<I", data, 14)
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    if compression not in _BMP_PLAIN:
        raise UnsupportedFormatError("image: expected an uncompressed BMP, got a compressed one; save it as PNG")
    # Up to 8 bits index a palette, 16 hold 5 a channel, 24 and 32 hold 8.
    return ImageHeader("BMP", width, abs(height), 5 if bits == 16 else 8)


# --- WebP: RFC 9649


def _webp(data: bytes) -> ImageHeader:
    kind = data[12:16]
    if data[8:12] != b"WEBP" or kind not in (b"VP8 ", b"VP8L", b"VP8X"):
        raise UnsupportedFormatError(f"image: expected {_ACCEPTED}, got another RIFF file; save it as one of these")
    if kind == b"VP8 ":
        mark, width, height = struct.unpack_from("<3sHH", data, 23)
        if mark != b"\x9d\x01\x2a":
            raise DamagedImageError("image: expected a WebP key frame, got none")
        return ImageHeader("WEBP", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return ImageHeader("WEBP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    flags, low, high = struct.unpack_from("<I3s3s", data, 20)
    width, height = (int.from_bytes(side, "little") + 1 for side in (low, high))
    at, orientation = 12, 1
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind == b"EXIF":
            orientation = _exif_orientation(data[at + 8 : at + 8 + length].removeprefix(_EXIF))
            break
        at += 8 + length + (length & 1)
    return ImageHeader("WEBP", width, height, several=bool(flags & 2), orientation=orientation)


# --- JPEG 2000: ISO/IEC 15444-1, annexes A and I

#: The decoder keeps about 6 KB a tile however small; 64 megapixels in tiles of 128 x 128 are 3,900.
_J2K_MAX_TILES: Final = 4_096


def _jp2(data: bytes) -> ImageHeader:
    at = 0
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        body = at + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, body)
            body += 8
        if kind == b"jp2c":
            return _j2k(data, body)
        if length < body - at:
            raise DamagedImageError("image: expected a JPEG 2000 codestream, got none")
        at += length


def _j2k(data: bytes, at: int = 0) -> ImageHeader:
    mark, _, _, right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, channels = struct.unpack_from(
        ">IHHIIIIIIIIH", data, at
    )
    if mark != 0xFF4FFF51 or not (tile_width and tile_height):
        raise DamagedImageError("image: expected a JPEG 2000 codestream with its size first, got another")
    across = -(-(right - tile_left) // tile_width)
    if across * -(-(bottom - tile_top) // tile_height) > _J2K_MAX_TILES:
        raise ImageTooLargeError(f"image: expected at most {_J2K_MAX_TILES} tiles, got more; save it in one tile")
    depths = struct.unpack_from("Bxx" * min(channels, 4), data, at + 42)
    depth = max(((signed_depth & 0x7F) + 1 for signed_depth in depths), default=8)
    return ImageHeader("JPEG2000", right - left, bottom - top, depth)


# --- TIFF 6.0, sections 2 and 8, and Adobe's supplement 2 (deflate)

_TIFF_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}  # bytes of one value, by type
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION = 256, 257, 258, 259, 262, 274
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
#: Tags of which a decoder expects exactly one number.
_TIFF_SINGLE: Final = frozenset((_WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC, 266, 277, 278, 284, 317, 322, 323))
#: Tags that pixels and colours depend on: the above, bits, strips, tiles, colour map, extra samples, sample format,
#: JPEG tables, YCbCr subsampling and reference, ICC profile.
_TIFF_NEEDED: Final = _TIFF_SINGLE | {_BITS, 273, 279, 320, 324, 325, 338, 339, 347, 530, 532, 34675}
#: None, LZW, JPEG, deflate (two codes), PackBits. The others are for documents and for science.
_TIFF_COMPRESSIONS: Final = frozenset((1, 5, 7, 8, 32946, 32773))
#: A decoder allocates a whole tile whatever the image's size.
_TIFF_MAX_TILE_PX: Final = 1 << 24


def _tiff(data: bytes) -> ImageHeader:
    order, entries, following = _tiff_directory(data)

    def number(tag: int, default: int) -> int:
        if tag not in entries:
            return default
        kind, _, value = entries[tag]
        return int(struct.unpack_from(order + ("H" if kind == 3 else "I"), value)[0])

    if number(_COMPRESSION, 1) not in _TIFF_COMPRESSIONS:
        raise UnsupportedFormatError(
            "image: expected a TIFF without compression or with LZW, deflate, PackBits or JPEG, "
            f"got compression {number(_COMPRESSION, 1)}; save it as PNG"
        )
    if number(_TILE_WIDTH, 1) * number(_TILE_HEIGHT, 1) > _TIFF_MAX_TILE_PX:
        raise ImageTooLargeError(f"image: expected tiles of at most {_TIFF_MAX_TILE_PX} pixels, got larger")
    kind, count, value = entries.get(_BITS, (3, 1, struct.pack(order + "HH", 1, 0)))
    if kind != 3:
        raise DamagedImageError(f"image: expected the bits of a TIFF as SHORT, got type {kind}")
    where = 0 if count <= 2 else struct.unpack(order + "I", value)[0]
    bits = max(struct.unpack_from(f"{order}{min(count, 8)}H", value if count <= 2 else data, where), default=1)
    return ImageHeader(
        "TIFF",
        number(_WIDTH, 0),
        number(_HEIGHT, 0),
        bits,
        cmyk=number(_PHOTOMETRIC, 1) == 5,
        several=following != 0,
        orientation=_exif_orientation(data),
    )


def _plain_tiff(data: bytes) -> bytes:
    # The same file with a directory of only what its pixels need: no thumbnails, EXIF, GPS, private tags.
    order, entries, _ = _tiff_directory(data)
    padding = bytes(len(data) % 2)  # a directory begins on a word boundary
    start = struct.pack(order + "I", len(data) + len(padding))
    directory = [
        struct.pack(order + "HHI", tag, kind, count) + value for tag, (kind, count, value) in sorted(entries.items())
    ]
    count = struct.pack(order + "H", len(directory))
    return b"".join([data[:4], start, data[8:], padding, count, *directory, bytes(4)])


def _tiff_directory(data: bytes) -> tuple[str, dict[int, tuple[int, int, bytes]], int]:
    # Byte order, needed tag → (type, count, value or offset), offset of the next directory.
    order = "<" if data.startswith(b"II") else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (total,) = struct.unpack_from(order + "H", data, at)
    entries: dict[int, tuple[int, int, bytes]] = {}
    for entry in range(at + 2, at + 2 + 12 * total, 12):
        tag, kind, count, value = struct.unpack_from(order + "HHI4s", data, entry)
        if tag not in _TIFF_NEEDED:
            continue
        size = count * _TIFF_SIZES.get(kind, 0)
        if size == 0 or (tag in _TIFF_SINGLE and (count != 1 or kind not in (3, 4))):
            raise DamagedImageError(f"image: expected a number in TIFF tag {tag}, got type {kind} x {count}")
        if size > 4 and struct.unpack(order + "I", value)[0] + size > len(data):
            raise DamagedImageError(f"image: expected TIFF tag {tag} inside the file, got an offset beyond its end")
        entries[tag] = kind, count, value
    (following,) = struct.unpack_from(order + "I", data, at + 2 + 12 * total)
    return order, entries, int(following)


_READERS: Final[tuple[tuple[bytes, Callable[[bytes], ImageHeader]], ...]] = (
    (b"\xff\xd8\xff", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"BM", _bmp),
    (b"II*\0", _tiff),
    (b"MM\0*", _tiff),
    (b"RIFF", _webp),
    (b"\0\0\0\x0cjP  \r\n\x87\n", _jp2),
    (b"\xff\x4f\xff\x51", _j2k),
)
