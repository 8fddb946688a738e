"""What is said of an interchange record, and what became of one that was converted: values only.

:mod:`biometrik.records` makes them; the contract carries them.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from biometrik.fingers import FingerPosition, Impression


class RecordType(Enum):
    """What octets are, or are to become; the values are the words of the command."""

    ISO_19794_2_2005 = "iso19794-2:2005"
    ISO_19794_2_2011 = "iso19794-2:2011"
    ISO_19794_2_CARD_COMPACT = "iso19794-2:card-compact"
    ISO_19794_2_CARD_NORMAL = "iso19794-2:card-normal"
    ANSI_378_2004 = "ansi378:2004"
    ANSI_378_2009 = "ansi378:2009"
    TEMPLATE = "template"
    """This library's own form of a finger's minutiae, :class:`biometrik.Template`."""
    ISO_19794_4_2005 = "iso19794-4:2005"
    ISO_19794_4_2011 = "iso19794-4:2011"
    PNG = "png"
    WSQ = "wsq"
    JPEG = "jpeg"
    JP2 = "jp2"
    BMP = "bmp"
    TIFF = "tiff"
    RAW8 = "raw8"
    """Gray rows from the top, an octet a pixel, without a header."""
    CBEFF_XML = "cbeff:xml"
    CBEFF_SIMPLE = "cbeff:simple"
    """ISO/IEC 19785-3, minimum simple byte-oriented."""


@dataclass(frozen=True, slots=True)
class BlockReport:
    """What a CBEFF header says of its block.

    Parameters
    ----------
    format_owner, format_type : str
        Registered identifiers of the block's format.
    modality, subtype, level, purpose : str
        In CBEFF's words; "" where it is not said.
    quality : int or None
        0..100; None where it is not said.
    created_at : datetime or None
        UTC; None where it is not said.
    octets : int
        Length of the block.
    content : RecordType or None
        What the block was found to be; None for what this library does not read.
    """

    format_owner: str
    format_type: str
    modality: str
    subtype: str
    level: str
    purpose: str
    quality: int | None
    created_at: datetime | None
    octets: int
    content: RecordType | None


@dataclass(frozen=True, slots=True)
class ViewReport:
    """What a record says of one print.

    Parameters
    ----------
    position : FingerPosition
        Which finger.
    impression : Impression
        How it was taken.
    width_px, height_px : int
        Of the image, in its own pixels.
    x_ppi, y_ppi : float or None
        Pixels an inch; None where it is not said, or cannot be relied on.
    minutiae : int or None
        How many; None for an image.
    coding : str
        How pixels became octets; "" for minutiae.
    quality : int or None
        0..100, the first that the record reports; None where it reports none.
    captured_at : datetime or None
        UTC; None where it is not said.
    """

    position: FingerPosition
    impression: Impression
    width_px: int
    height_px: int
    x_ppi: float | None
    y_ppi: float | None
    minutiae: int | None
    coding: str
    quality: int | None
    captured_at: datetime | None


@dataclass(frozen=True, slots=True)
class RecordReport:
    """What stands in a record; never pixels, minutiae or templates.

    Parameters
    ----------
    type : RecordType
        What it is.
    octets : int
        Its length.
    blocks : tuple of BlockReport
        Of CBEFF; empty otherwise.
    views : tuple of ViewReport
        Its prints; with CBEFF, those of all blocks that are read, in order. Their place, from 1, is what
        ``convert(view=…)`` asks for.
    departures : tuple of str
        Where it departs from its standard and how that was read all the same, and what it says that cannot be shown
        here. Empty for a record that the strict reader takes as it is.
    """

    type: RecordType
    octets: int
    blocks: tuple[BlockReport, ...]
    views: tuple[ViewReport, ...]
    departures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conversion:
    """A record in another format.

    Parameters
    ----------
    data : bytes
        The new octets.
    source, target : RecordType
        What it was, and what it is now.
    losses : tuple of str
        What the new octets no longer say, or say less exactly; found by reading them again.
    departures : tuple of str
        As in :class:`RecordReport`, of what was given.
    """

    data: bytes = field(repr=False)
    source: RecordType
    target: RecordType
    losses: tuple[str, ...]
    departures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecordSimilarity:
    """How alike two records' prints are.

    Parameters
    ----------
    similarity : float
        The matcher's own, 0..1, of the pair most alike. No error rate stands behind it.
    comparisons : int
        Pairs that were compared.
    probe_view, reference_view : int
        Which prints that pair is of, as ``views`` counts, from 1.
    """

    similarity: float
    comparisons: int
    probe_view: int
    reference_view: int


@dataclass(frozen=True, slots=True)
class Stated:
    """What the caller knows of octets that do not say it themselves.

    Parameters
    ----------
    type : RecordType or None
        What they are. Needed for card formats and RAW8, which have nothing to be recognised by; None finds out.
    position : FingerPosition
        Which finger; counts where the octets say none.
    ppi : float or None
        Pixels an inch, 250..1000, of an image that is no record; counts before what it says.
    width_px, height_px : int
        Size of RAW8, otherwise 0.
    """

    type: RecordType | None = None
    position: FingerPosition = FingerPosition.UNKNOWN
    ppi: float | None = None
    width_px: int = 0
    height_px: int = 0


#: A caller who knows nothing but the octets.
NOTHING_STATED = Stated()
