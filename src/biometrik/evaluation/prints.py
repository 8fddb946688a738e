"""From labelled prints, of people or synthetic, to every comparison between like fingers of them."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.evaluation.metrics import Comparisons, Trials
from biometrik.finger_imaging import read_print
from biometrik.fingerprint.matching import Matcher
from biometrik.fingerprint.pipeline import FingerPipeline, ProcessedPrint
from biometrik.fingers import FingerprintImage, Minutiae
from biometrik.synthetic.fingerprints import draw_finger
from biometrik.synthetic.impressions import draw_impression

_SUFFIXES: Final = frozenset({".bmp", ".jp2", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".wsq"})


class Finger(NamedTuple):
    """Whose print it is.

    Parameters
    ----------
    subject : str
        The person; the finger where it is not known whose it is.
    position : str
        Which finger of that person; "" where it is not known.
    """

    subject: str
    position: str = ""


#: Reads or draws some prints.
Source = Callable[[], Sequence[tuple[Finger, FingerprintImage]]]


@dataclass(frozen=True, slots=True, eq=False)
class EnrolledPrints:
    """Minutiae of one set, whose prints may be compared with each other.

    Parameters
    ----------
    fingers : tuple of Finger
        Whose each is.
    minutiae : tuple of Minutiae
        Of the prints that gave a template.
    failures_to_enroll : int
        Prints that gave none.
    """

    fingers: tuple[Finger, ...]
    minutiae: tuple[Minutiae, ...]
    failures_to_enroll: int


def labelled_prints(folder: Path, *, ppi: float | None = None) -> list[Source]:
    """Return the prints of a folder, named ``<finger>_<impression>.tif`` (as FVC does) or with ``<person>_`` before it.

    Parameters
    ----------
    folder : Path
        One set: prints of one sensor. Of several sets nobody knows which people they share.
    ppi : float or None
        Resolution of all prints; None to believe the files.

    Raises
    ------
    InvalidInputError
        The folder has no prints named in that way.
    """
    sources: list[Source] = []
    for path in sorted(p for p in folder.glob("*") if p.suffix.lower() in _SUFFIXES):
        *owner, _ = path.stem.split("_")
        if not 1 <= len(owner) <= 2:
            raise InvalidInputError(
                f"data: expected <finger>_<impression> or <person>_<finger>_<impression>, got {path.name} in {folder}"
            )
        sources.append(partial(_read, path, Finger(*owner), ppi))
    if not sources:
        raise InvalidInputError(f"data: expected prints in {folder}, got none; name the folder of one set")
    return sources


def synthetic_prints(fingers: int, impressions: int, *, seed: int) -> list[Source]:
    """Return SYNTHETIC fingers, each of another person, with their usual impressions; one finger a source."""
    return [partial(_draw, seed, index, impressions) for index in range(fingers)]


def enroll_prints(
    sources: Sequence[Source],
    pipelines: Sequence[FingerPipeline],
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> list[EnrolledPrints]:
    """Read or draw every print once and extract it with each pipeline, on all cores.

    Parameters
    ----------
    sources : sequence of Source
        Of one set.
    pipelines : sequence of FingerPipeline
        Each runs on one thread of every core: open their runtimes with one thread.
    progress : callable
        Told how many more sources are done.

    Returns
    -------
    list of EnrolledPrints
        One for each pipeline.

    Raises
    ------
    ImageError
        A file is not an image: the data set is damaged.
    InvalidInputError
        A file does not state its resolution, and none was given.
    """

    def extracted(source: Source) -> list[tuple[Finger, list[Minutiae | None]]]:
        return [(finger, [_minutiae(pipeline, image) for pipeline in pipelines]) for finger, image in source()]

    rows: list[tuple[Finger, list[Minutiae | None]]] = []
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        for found in pool.map(extracted, sources):
            rows += found
            progress(1)
    enrolled = []
    for k in range(len(pipelines)):
        kept = [(finger, minutiae) for finger, each in rows if (minutiae := each[k]) is not None]
        own = EnrolledPrints(tuple(f for f, _ in kept), tuple(m for _, m in kept), len(rows) - len(kept))
        enrolled.append(own)
    return enrolled


def compare_like(
    sets: Sequence[EnrolledPrints], matcher: Matcher[Any], *, progress: Callable[[int], None] = lambda _: None
) -> Trials:
    """Compare every print with every other of its set that shows the same finger of a person, whoever that is.

    An engine compares right index fingers with right index fingers, and those of two people are more alike than a
    right index and a left thumb: an FMR over all pairs of fingers would promise too much. Fingers of which the
    position is not known are compared with all others of their set.

    Parameters
    ----------
    sets : sequence of EnrolledPrints
        Never compared with each other: some people may be in two of them.
    matcher : Matcher
        Compares.
    progress : callable
        Told how many more prints are done.

    Returns
    -------
    Trials
        Mated: prints of one finger. Non-mated: of two subjects.

    Raises
    ------
    InvalidInputError
        There is no mated or no non-mated comparison.
    """
    found: list[_Compared] = []
    first_subject = 0
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        for prints in sets:
            names, subject = np.unique([finger.subject for finger in prints.fingers], return_inverse=True)
            position = np.unique([finger.position for finger in prints.fingers], return_inverse=True)[1]
            pack = matcher.pack(list(pool.map(matcher.prepare, prints.minutiae)))
            row = partial(_compared, matcher, pack, subject + first_subject, position)
            for compared in pool.map(row, range(len(pack) - 1)):
                found.append(compared)
                progress(1)
            first_subject += len(names)
    if not found:
        raise InvalidInputError("prints: expected at least two in a set, got none")
    similarity, first, second = (np.concatenate(column) for column in zip(*found, strict=True))
    same = first == second
    if not same.any() or same.all():
        raise InvalidInputError("prints: expected two of one finger and two people at least")
    mated, non_mated = (
        Comparisons.of(similarity[kind], first[kind], second[kind], first_subject) for kind in (same, ~same)
    )
    failures = sum(prints.failures_to_enroll for prints in sets)
    return Trials(mated, non_mated, sum(len(prints.fingers) for prints in sets) + failures, failures)


class _Compared(NamedTuple):
    similarity: NDArray[np.float32]
    first: NDArray[np.int32]
    second: NDArray[np.int32]


def _compared(
    matcher: Matcher[Any], pack: Any, subject: NDArray[np.int64], position: NDArray[np.int64], row: int
) -> _Compared:
    # One print against those after it. Of one person only the same finger is compared: `position` says so.
    like = np.flatnonzero(position[row + 1 :] == position[row])
    similarity = matcher.compare_many(pack.part(row, row + 1), pack.part(row + 1, len(pack)))[like]
    second = subject[row + 1 :][like].astype(np.int32)
    return _Compared(similarity, np.full_like(second, subject[row]), second)


def _read(path: Path, finger: Finger, ppi: float | None) -> list[tuple[Finger, FingerprintImage]]:
    return [(finger, read_print(path, ppi=ppi))]


def _draw(seed: int, index: int, impressions: int) -> list[tuple[Finger, FingerprintImage]]:
    finger = draw_finger(seed, index)
    return [(Finger(str(index)), draw_impression(finger, k).image) for k in range(impressions)]


def _minutiae(pipeline: FingerPipeline, image: FingerprintImage) -> Minutiae | None:
    (found,) = pipeline.process([image])
    return found.minutiae if isinstance(found, ProcessedPrint) else None
