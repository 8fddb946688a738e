"""Cylinder codes pair minutiae, the pairs support each other, and the bent print is laid on the other: the default.

How one comparison goes (:mod:`biometrik.fingerprint.kernels` has the arithmetic, ADR 7 the reasons and measurements):

1. *Candidates.* Any two minutiae are as similar as the cosine of their codes, ``|a ∧ b| / √((|a| + 6)(|b| + 6))``: four
   words of population counts. To it comes what the pair's rotation is worth before anything is seen, because people put
   fingers on devices upright. The best pairs without a minutia in common go on.
2. *Support.* Two pairs agree as far as one motion explains both, with tolerances that grow with the distance, as skin
   bends. Relaxation lets agreeing pairs support each other; what the best then keep of their similarity is the first
   piece of evidence.
3. *Registration.* Supported pairs anchor a moving-least-squares motion: each minutia moves rigidly with the anchors
   around it, so a print twisted by 30° from end to end still lies on the other. Where it comes to lie, it is matched
   with its mutual nearest neighbour; all matches then are the anchors, once more.
4. *Evidence.* Each match counts by how exact it is; against it stand the minutiae of either print that the other should
   show but does not, by their quality. The second piece of evidence is how surprising that share would be by chance
   (a binomial's large-deviation bound), the third the prior of the rotation found.

A print turned by any angle keeps its similarity to itself but for the last piece.

References
----------
R. Cappelli, M. Ferrara, D. Maltoni, "Minutia Cylinder-Code", IEEE TPAMI 32(12), 2010: relaxation (section 4.2.2).

S. Schaefer, T. McPhail, J. Warren, "Image deformation using moving least squares", ACM TOG 25(3), 2006: rigid motion.

A. Desolneux, L. Moisan, J.-M. Morel, "Meaningful alignments", IJCV 40(1), 2000: evidence against chance.
"""

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from biometrik.fingerprint import kernels
from biometrik.fingerprint.descriptors import (
    DIRECTIONS,
    NORMALS,
    SIDES,
    SKETCH_WORDS,
    SKETCHED,
    describe_many,
    sketches,
)
from biometrik.fingerprint.matching import Alignment, Matcher, Prepared
from biometrik.fingers import Minutiae

#: Changes when the same minutiae get another similarity.
_VERSION: Final = "1"
#: Bits that every code is thought to have more than it has: few bits in common of few are no evidence. A neighbour sets
#: about 12 bits in two directions: half a neighbour.
_PSEUDO_BITS: Final = 6
#: Weight of minutiae whose quality is not known: what the default extractor's have in the middle.
_UNKNOWN_QUALITY: Final = 0.85


@dataclass(frozen=True, slots=True, eq=False)
class Cylinders(Prepared):
    """Templates' derived data.

    Parameters
    ----------
    packed : kernels.Packed
        Read-only arrays.
    """

    packed: kernels.Packed

    def __len__(self) -> int:
        return len(self.packed.key)

    @property
    def sizes(self) -> NDArray[np.int32]:
        return self.packed.minutiae

    def part(self, start: int, stop: int) -> Self:
        """Return templates ``start`` to ``stop`` − 1; shares memory."""
        packed = self.packed
        return type(self)(
            packed._replace(
                offsets=packed.offsets[start : stop + 1],
                minutiae=packed.minutiae[start:stop],
                sketch=packed.sketch[SKETCH_WORDS * SKETCHED * start : SKETCH_WORDS * SKETCHED * stop],
                reach=packed.reach[SIDES * start : SIDES * stop],
                key=packed.key[start:stop],
            )
        )


class CylinderMatcher(Matcher[Cylinders]):
    """See the module docstring; everything else is the base class."""

    prepared = Cylinders

    def __init__(self, *, device_id: int = 0) -> None:
        super().__init__(device_id=device_id)
        self._local = threading.local()

    def contract(self) -> Mapping[str, str]:
        return {"algorithm": "cylinders", "version": _VERSION}

    def _prepare_many(self, minutiae: Sequence[Minutiae]) -> Cylinders:
        counts = np.array([len(print_) for print_ in minutiae], dtype=np.int64)
        starts = np.concatenate([np.zeros(1, dtype=np.int64), counts.cumsum()])
        offsets = np.concatenate([starts[:1], (counts + -counts % kernels.LANES).cumsum()])
        x, y, direction, quality = (
            np.concatenate([blank, *(getattr(print_, name) for print_ in minutiae)])
            for name, blank in (("x", _NONE), ("y", _NONE), ("direction", _NONE), ("quality", _NONE.astype(np.uint8)))
        )
        described = describe_many(x, y, direction, starts)
        known = np.array([print_.quality.any() for print_ in minutiae], dtype=np.bool_)
        bits = np.bitwise_count(described.codes).sum(axis=1)
        # Where each minutia comes to lie among the padding, and each word of its code: word by word within a template.
        place = np.arange(len(x)) + (offsets[:-1] - starts[:-1]).repeat(counts)
        word = (DIRECTIONS * offsets[:-1]).repeat(counts) + place - offsets[:-1].repeat(counts)
        words = np.zeros(DIRECTIONS * offsets[-1], dtype=np.uint64)
        for d in range(DIRECTIONS):
            words[word + d * np.diff(offsets).repeat(counts)] = described.codes[:, d]
        sketch = np.zeros((len(counts), SKETCH_WORDS, SKETCHED), dtype=np.uint64)
        rank = np.arange(len(x)) - starts[:-1].repeat(counts)
        best = np.flatnonzero(rank < SKETCHED)
        owner = np.arange(len(counts)).repeat(counts)[best]
        sketch[owner, :, rank[best]] = sketches(described.codes[best], direction[best])
        columns = np.zeros((6, offsets[-1]), dtype=np.float32)
        columns[:2] = kernels.NOWHERE_PX
        for column, values in zip(
            columns,
            (
                x,
                y,
                np.cos(direction),
                np.sin(direction),
                np.where(known.repeat(counts), quality / np.float32(100), np.float32(_UNKNOWN_QUALITY)),
                1.0 / np.sqrt(bits + _PSEUDO_BITS),
            ),
            strict=True,
        ):
            column[place] = values
        bounds = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        digests = [hashlib.blake2b(columns[:, a:b].tobytes(), digest_size=8).digest() for a, b in bounds]
        return _frozen(
            kernels.Packed(
                offsets=offsets,
                minutiae=counts.astype(np.int32),
                words=words,
                sketch=sketch.ravel(),
                x=columns[0],
                y=columns[1],
                cos=columns[2],
                sin=columns[3],
                weight=columns[4],
                norm=columns[5],
                reach=described.reach_px,
                key=np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64),
            )
        )

    def _pack(self, templates: Sequence[Cylinders]) -> Cylinders:
        packs = [template.packed for template in templates]
        lengths = [np.zeros(1, dtype=np.int64), *(np.diff(pack.offsets) for pack in packs)]
        # A part's minutiae are a slice of its pack's.
        spans = [slice(int(pack.offsets[0]), int(pack.offsets[-1])) for pack in packs]
        rows = {
            name: [getattr(pack, name)[span] for pack, span in zip(packs, spans, strict=True)]
            for name in ("x", "y", "cos", "sin", "weight", "norm")
        }
        words = [
            pack.words[DIRECTIONS * span.start : DIRECTIONS * span.stop]
            for pack, span in zip(packs, spans, strict=True)
        ]
        each = {name: [getattr(pack, name) for pack in packs] for name in ("minutiae", "sketch", "reach", "key")}
        blank = _BLANK._asdict()
        joined = {
            name: np.concatenate([blank[name][:0], *parts]) for name, parts in {**rows, **each, "words": words}.items()
        }
        return _frozen(kernels.Packed(offsets=np.concatenate(lengths).cumsum(), **joined))

    def _compare_many(
        self, probe: Cylinders, references: Cylinders, chosen: NDArray[np.int64], similarity: NDArray[np.float32]
    ) -> None:
        kernels.compare_many(probe.packed, references.packed, chosen, _NORMALS, self._scratch(), similarity)

    def _screen(
        self, probe: Cylinders, references: Cylinders, chosen: NDArray[np.int64], promise: NDArray[np.float32]
    ) -> None:
        kernels.screen_many(probe.packed, references.packed, chosen, kernels.SCREENED, promise)

    def _glance(
        self,
        probe: Cylinders,
        references: Cylinders,
        chosen: NDArray[np.int64],
        long: bool,
        promise: NDArray[np.float32],
    ) -> None:
        kernels.glance_many(probe.packed, references.packed, chosen, (1 + long) * kernels.GLANCED, promise)

    def _align(self, probe: Cylinders, reference: Cylinders) -> Alignment:
        scratch = self._scratch()
        similarity = np.zeros(1, dtype=np.float32)
        found = kernels.compare_many(probe.packed, reference.packed, _FIRST, _NORMALS, scratch, similarity)
        pairs, certainty = scratch.pairs[:, :found].T.copy(), scratch.pair[kernels.CERTAINTY, :found].copy()
        cos, sin, ax, ay, bx, by = (float(value) for value in scratch.fit[:6])
        if found == 0:
            cos, sin, ax, ay, bx, by = 1.0, 0.0, 0.0, 0.0, 0.0, 0.0
        if kernels.takes_second_part(probe.packed, reference.packed, 0):
            pairs, sin, ax, ay, bx, by = np.ascontiguousarray(pairs[:, ::-1]), -sin, bx, by, ax, ay
        motion = np.array([[cos, -sin, bx - cos * ax + sin * ay], [sin, cos, by - sin * ax - cos * ay]])
        return Alignment(pairs, certainty, motion.astype(np.float32), float(similarity[0]))

    def _scratch(self) -> kernels.Scratch:
        # One a thread, made on its first comparison.
        scratch: kernels.Scratch | None = getattr(self._local, "scratch", None)
        if scratch is None:
            scratch = self._local.scratch = kernels.scratch()
        return scratch


def _frozen(packed: kernels.Packed) -> Cylinders:
    # All arrays read-only, so that every pack reaches the same compiled kernel.
    for array in packed:
        array.setflags(write=False)
    return Cylinders(packed)


_NORMALS: Final = NORMALS.copy()
_NORMALS.setflags(write=False)
_FIRST: Final = np.zeros(1, dtype=np.int64)
_NONE: Final = np.zeros(0, dtype=np.float32)
_BLANK: Final = kernels.Packed(
    offsets=np.zeros(1, dtype=np.int64),
    minutiae=np.zeros(0, dtype=np.int32),
    words=np.zeros(0, dtype=np.uint64),
    sketch=np.zeros(0, dtype=np.uint64),
    x=np.zeros(0, dtype=np.float32),
    y=np.zeros(0, dtype=np.float32),
    cos=np.zeros(0, dtype=np.float32),
    sin=np.zeros(0, dtype=np.float32),
    weight=np.zeros(0, dtype=np.float32),
    norm=np.zeros(0, dtype=np.float32),
    reach=np.zeros(0, dtype=np.float32),
    key=np.zeros(0, dtype=np.uint64),
)

MATCHER = CylinderMatcher
