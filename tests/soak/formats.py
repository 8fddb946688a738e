"""Mutated interchange records by the million: ``scripts/soak`` calls :func:`run`, the fuzz tests use its parts.

Whatever the octets, a codec gives a value or raises :class:`~biometrik.errors.RecordFormatError`, soon, and allocates
no more than 1 MiB beyond the record. A failure is reproduced by ``run(1, seed, start=index)``.
"""

import random
import time
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import numpy as np

from biometrik import records
from biometrik.errors import BiometrikError, RecordFormatError
from biometrik.fingers import FingerPosition, FingerprintImage, Impression, Minutiae
from biometrik.formats import ansi378, catalogue, cbeff, iso19794_2, iso19794_2_card, iso19794_4
from biometrik.formats.image_record import ImageCoding, ImageRecord, ImageView
from biometrik.formats.iso19794_2_card import CardSize
from biometrik.formats.minutiae_record import (
    CaptureDevice,
    Certification,
    ExtendedData,
    Extension,
    MinutiaeRecord,
    MinutiaeView,
    Raster,
    RecordFormat,
    RidgeCounts,
    SampleQuality,
    Singularity,
    SingularityKind,
)
from biometrik.formats.record_report import RecordType

#: What a codec may allocate beyond the record that it was given, octets.
ALLOWANCE_BYTES: Final = 1 << 20
#: Longer than any reading takes, seconds of CPU.
HANG_S: Final = 2.0
_MEASURED_EVERY: Final = 64
_EXTREMES: Final = (b"\x00", b"\xff", b"\x7f\xff", b"\x80\x00", b"\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\xff")
_TOKENS: Final = (b"<BIR>", b"</BIR>", b"<BDB>", b"&amp;", b"&#0;", b"<!DOCTYPE a>", b"<![CDATA[", b"<?x?>", b"\xff")


@dataclass(frozen=True, slots=True)
class Target:
    """A format under test: a record of it, and what reads it, strictly and leniently."""

    name: str
    sample: bytes
    read: Callable[[bytes, bool], object]


@dataclass(frozen=True, slots=True)
class Edit:
    """One damage: at ``at`` (modulo the length), ``length`` octets are replaced by ``octets``, ``times`` over."""

    at: int
    length: int
    octets: bytes
    times: int = 1


@dataclass(frozen=True, slots=True)
class Failure:
    """A mutated record that a codec did not cope with."""

    index: int
    target: str
    what: str


def targets() -> tuple[Target, ...]:
    """Return every format with a record that uses all of its fields."""
    minutiae, images = _minutiae_record(), _image_record()
    records_of = {e: iso19794_2.write(replace(minutiae, origin=e), e) for e in _ISO}
    records_of |= {e: ansi378.write(replace(minutiae, origin=e), e) for e in _ANSI}
    whole = cbeff.Bir(records_of[RecordFormat.ISO_19794_2_2011], format_type="2", subtype="Right IndexFinger")
    one = minutiae.views[0].minutiae
    bir = cbeff.Bir(
        b"FMR\0 20\0" * 8, subtype="Right IndexFinger", quality=80, quality_algorithm=("15", "1"), others=(("a", "b"),)
    )
    image_2005, image_2011 = RecordFormat.ISO_19794_4_2005, RecordFormat.ISO_19794_4_2011
    return (
        *(Target(e.value, records_of[e], _by(iso19794_2.read)) for e in _ISO),
        *(Target(e.value, records_of[e], _by(ansi378.read)) for e in _ANSI),
        Target(image_2005.value, iso19794_4.write(images, image_2005), _by(iso19794_4.read)),
        Target(image_2011.value, iso19794_4.write(images, image_2011), _by(iso19794_4.read)),
        Target(
            "card, compact",
            iso19794_2_card.write(one, CardSize.COMPACT),
            lambda data, strict: iso19794_2_card.read(data, CardSize.COMPACT, strict=strict),
        ),
        Target(
            "card, normal",
            iso19794_2_card.write(one, CardSize.NORMAL),
            lambda data, strict: iso19794_2_card.read(data, CardSize.NORMAL, strict=strict),
        ),
        Target("CBEFF, XML", cbeff.write(cbeff.BirRecord((bir, bir))), _by(cbeff.read)),
        Target("CBEFF, simple", cbeff.write_simple(bir), lambda data, _: cbeff.read_simple(data)),
        Target("inspect", records_of[RecordFormat.ISO_19794_2_2011], lambda data, _: catalogue.inspect(data)),
        Target("inspect record", cbeff.write(cbeff.BirRecord((whole, whole))), lambda data, _: _inspected(data)),
        Target("convert record", whole.data, lambda data, strict: _converted(data, strict)),
    )


def _inspected(data: bytes) -> object:
    try:
        return records.inspect(data)
    except BiometrikError as error:
        raise RecordFormatError(str(error)) from None


def _converted(data: bytes, strict: bool) -> object:
    # What was written must be readable; damaged extended data, which are kept as they are, may still be remarked on.
    target = RecordType.ISO_19794_2_2005 if strict else RecordType.CBEFF_XML
    try:
        made = records.convert(data, target)
    except BiometrikError as error:
        raise RecordFormatError(str(error)) from None
    return records.inspect(made.data)


def applied(sample: bytes, edits: Iterable[Edit]) -> bytes:
    """Return a record with damages done to it, at most 1 MiB."""
    data = bytearray(sample)
    for edit in edits:
        at = edit.at % (len(data) + 1)
        data[at : at + edit.length] = edit.octets * edit.times
    return bytes(data[: 1 << 20])


def failure_of(target: Target, data: bytes, index: int = 0, *, measure: bool = False) -> Failure | None:
    """Return what was wrong when a record was read, strictly and leniently, or None.

    Parameters
    ----------
    target : Target
        What reads it.
    data : bytes
        The damaged record.
    index : int
        For the failure.
    measure : bool
        Whether allocations are traced, which takes several times as long.
    """
    for strict in (True, False):
        started = time.process_time()
        if measure:
            tracemalloc.start()
        try:
            target.read(data, strict)
        except RecordFormatError:
            pass
        except Exception as error:
            return Failure(index, target.name, f"{type(error).__name__}: {error} (strict={strict})")
        finally:
            peak = tracemalloc.get_traced_memory()[1] if measure else 0
            if measure:
                tracemalloc.stop()
        if peak > ALLOWANCE_BYTES + 2 * len(data):
            return Failure(index, target.name, f"allocated {peak} octets for {len(data)} (strict={strict})")
        taken = time.process_time() - started
        if taken > HANG_S:
            return Failure(index, target.name, f"took {taken:.1f} s for {len(data)} octets (strict={strict})")
    return None


def mutated(sample: bytes, seed: int, index: int) -> bytes:
    """Return a record with a few random damages; the same seed and index give the same ones."""
    rng = random.Random(f"{seed}:{index}")
    edits = [_random_edit(rng, len(sample)) for _ in range(rng.choice((1, 1, 2, 3, 5, 8)))]
    return applied(sample, edits)


def run(count: int, seed: int, start: int = 0) -> list[Failure]:
    """Read ``count`` mutated records, the formats in turn, and return what failed.

    Parameters
    ----------
    count : int
        Records.
    seed : int
        Of the mutations; with an index it determines a record.
    start : int
        First index.
    """
    formats = targets()
    failures = []
    for index in range(start, start + count):
        target = formats[index % len(formats)]
        data = mutated(target.sample, seed, index)
        failure = failure_of(target, data, index, measure=index // len(formats) % _MEASURED_EVERY == 0)
        failures += [failure] if failure is not None else []
    return failures


_ISO: Final = (RecordFormat.ISO_19794_2_2005, RecordFormat.ISO_19794_2_2011)
_ANSI: Final = (RecordFormat.ANSI_378_2004, RecordFormat.ANSI_378_2009)


def _random_edit(rng: random.Random, length: int) -> Edit:
    at = rng.randrange(length + 1) if rng.random() < 0.6 else rng.randrange(min(length, 64) + 1)
    kind = rng.randrange(8)
    if kind <= 2:
        return Edit(at, 1, rng.randbytes(1))
    if kind == 3:
        extreme = rng.choice(_EXTREMES)
        return Edit(at, len(extreme), extreme)
    if kind == 4:
        return Edit(at, rng.choice((1, 2, 6, 40, length)), b"")
    if kind == 5:
        return Edit(at, 0, rng.randbytes(rng.choice((1, 2, 6, 40))), rng.choice((1, 1, 1, 3, 1000)))
    if kind == 6:
        return Edit(at, 0, rng.choice(_TOKENS), rng.choice((1, 1, 20, 3000)))
    return Edit(length, 0, rng.randbytes(rng.choice((1, 8, 500))))


def _by(read: Callable[..., object]) -> Callable[[bytes, bool], object]:
    return lambda data, strict: read(data, strict=strict)


def _minutiae_record() -> MinutiaeRecord:
    rng = np.random.default_rng(7)
    views = []
    for number, position in enumerate((FingerPosition.RIGHT_INDEX, FingerPosition.LEFT_THUMB)):
        count = 12
        minutiae = Minutiae(
            rng.integers(0, 300, count).astype(np.float32),
            rng.integers(0, 400, count).astype(np.float32),
            (rng.integers(0, 256, count) * (2 * np.pi / 256)).astype(np.float32),
            rng.integers(0, 3, count).astype(np.uint8),
            rng.integers(1, 101, count).astype(np.uint8),
            300,
            400,
        )
        extension = Extension(
            RidgeCounts(1, rng.integers(0, 12, (5, 3)).astype(np.uint8)),
            (
                Singularity(SingularityKind.CORE, 150.0, 160.0, (1.5,)),
                Singularity(SingularityKind.DELTA, 80.0, 300.0, (0.5, 2.5, 4.5)),
            ),
            (ExtendedData(0x0101, b"vendor"),),
        )
        views.append(
            MinutiaeView(
                minutiae,
                Raster(300, 400),
                position,
                Impression.LIVE_ROLLED,
                number,
                (SampleQuality(70, 15, 1),),
                datetime(2024, 5, 6, 7, 8, 9, 10_000, tzinfo=UTC),
                CaptureDevice(type_id=0x123, compliance=8),
                (Certification(17, 1),),
                extension=extension,
            )
        )
    return MinutiaeRecord(tuple(views), product=0x00330021)


def _image_record() -> ImageRecord:
    pixels = np.random.default_rng(8).integers(0, 256, (40, 30)).astype(np.uint8)
    raw = ImageView.of(FingerprintImage(pixels, 500.0, FingerPosition.RIGHT_MIDDLE), quality=60)
    again = ImageView(raw.data, ImageCoding.RAW, 30, 40, (500.0, 500.0), FingerPosition.LEFT_MIDDLE, number=1)
    return ImageRecord((raw, again))
