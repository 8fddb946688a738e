"""The comparison's kernels: equal to plain Python, the same similarities as ever, no second specialisation."""

from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from biometrik.fingerprint import kernels
from biometrik.fingerprint.descriptors import DIRECTIONS, SKETCH_WORDS, SKETCHED
from biometrik.fingerprint.kernels import (
    comparison,
    compiling,
    evidence,
    fetching,
    glancing,
    lanes,
    layout,
    pairing,
    registration,
    screening,
    support,
)
from biometrik.fingerprint.matchers import cylinders
from biometrik.fingerprint.matchers.cylinders import CylinderMatcher
from biometrik.fingers import MAX_MINUTIAE, Minutiae
from tests.unit.fingerprint.lanes_in_numpy import TWINS

_ONE = np.zeros(1, dtype=np.int64)


def drawn(rng: np.random.Generator, count: int) -> Minutiae:
    places = rng.uniform(100, 260, (2, count)).astype(np.float32)
    kind = np.ones(count, dtype=np.uint8)
    direction = rng.uniform(0, 6.28, count).astype(np.float32)
    return Minutiae(places[0], places[1], direction, kind, kind * np.uint8(80), 400, 400)


def jittered(rng: np.random.Generator, print_: Minutiae) -> Minutiae:
    x, y = (values + rng.normal(0, 1, len(print_)).astype(np.float32) for values in (print_.x, print_.y))
    return Minutiae(x, y, print_.direction, print_.kind, print_.quality, 400, 400)


def _in_plain_python(patch: pytest.MonkeyPatch) -> None:
    # All kernels as the functions that they were before compilation, and NumPy twins of the lanes.
    for room in (kernels, layout, pairing, support, registration, evidence, comparison, screening, glancing, fetching):
        for name, value in list(vars(room).items()):
            if hasattr(value, "py_func"):
                patch.setattr(room, name, value.py_func)
            elif name in TWINS:
                patch.setattr(room, name, TWINS[name])


@pytest.mark.parametrize("count", [2, 9, 17])
def test_kernels_equal_plain_python(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    matcher = CylinderMatcher()
    first = drawn(rng, count)
    probe = matcher.prepare(first)
    references = matcher.pack([matcher.prepare(p) for p in (first, jittered(rng, first), drawn(rng, 12))])
    compiled = [act(probe, references) for act in (matcher.compare_many, matcher.screen, matcher.glance)]
    compiled.append(matcher.glance(probe, references, long=True))
    pairs = matcher.align(probe, references.part(1, 2)).pairs
    _in_plain_python(monkeypatch)
    # math.sqrt and the like are of double precision there.
    np.testing.assert_allclose(matcher.compare_many(probe, references), compiled[0], atol=2e-4)
    np.testing.assert_allclose(matcher.screen(probe, references), compiled[1], rtol=1e-4)
    np.testing.assert_allclose(matcher.glance(probe, references), compiled[2], rtol=1e-4)
    np.testing.assert_allclose(matcher.glance(probe, references, long=True), compiled[3], rtol=1e-4)
    np.testing.assert_array_equal(matcher.align(probe, references.part(1, 2)).pairs, pairs)


def test_similarities_are_those_of_version_1() -> None:
    # 12,544 pairs, as the first version of the kernels had them: calibrations rest on these. Another C library's
    # exponential may differ in the last bit.
    rng = np.random.default_rng(1929)
    prints = [drawn(rng, count) for count in range(5, 61)]
    matcher = CylinderMatcher()
    templates = [matcher.prepare(p) for p in [*prints, *(jittered(rng, p) for p in prints)]]
    pack = matcher.pack(templates)
    similarity = np.stack([matcher.compare_many(t, pack) for t in templates]).astype(np.float64)
    assert matcher.contract()["version"] == "1"
    assert similarity.mean() == pytest.approx(0.3820928, abs=1e-6)
    np.testing.assert_allclose(
        np.percentile(similarity, [1, 10, 50, 90, 99]), [0, 0.237559, 0.384643, 0.508637, 0.999503], atol=2e-6
    )
    rows = np.arange(0, 112, 8)
    strangers = [0, 0.406131, 0.350406, 0.353536, 0.318946, 0.422816, 0.446953]
    strangers += [0, 0.501049, 0.347542, 0.357056, 0.412026, 0.47762, 0.518098]
    np.testing.assert_allclose(similarity[rows, (5 * rows + 3) % 112], strangers, atol=2e-6)
    mates = [0.949037, 0.98489, 0.996522, 0.998608, 0.999457, 0.999801, 0.999933, 0.999977, 0.999993, 0.999998]
    np.testing.assert_allclose(np.diag(similarity, 56)[::6], mates, atol=2e-6)


def test_product(rng: np.random.Generator) -> None:
    size = kernels.MAX_PAIRS
    half = rng.uniform(0, 1, (size, size)).astype(np.float32)
    vector, out = rng.uniform(0, 1, size).astype(np.float32), np.zeros(size, dtype=np.float32)
    support.multiply(half + half.T, vector, out)
    np.testing.assert_allclose(out, (half + half.T) @ vector, rtol=1e-5)


def test_a_glance_reads_sketches_only(rng: np.random.Generator) -> None:
    matcher = CylinderMatcher()
    probe, stranger = matcher.prepare(drawn(rng, 60)), matcher.prepare(drawn(rng, 60))
    packed = stranger.packed
    turned = packed.sketch.copy()
    turned[: kernels.GLANCED] ^= np.uint64(7 << 61)  # other directions, the same codes
    blank = np.zeros_like(packed.words)
    for array in (turned, blank):
        array.setflags(write=False)
    (expected,) = matcher.glance(probe, stranger)
    assert matcher.glance(probe, cylinders.Cylinders(packed._replace(sketch=turned)))[0] != expected
    assert matcher.glance(probe, cylinders.Cylinders(packed._replace(words=blank)))[0] == expected
    assert matcher.glance(probe, probe)[0] > 2 * expected


def test_a_long_glance_adds_the_next_minutiae(rng: np.random.Generator) -> None:
    matcher = CylinderMatcher()
    reference = matcher.prepare(drawn(rng, 40))
    for count, more in ((8, False), (16, False), (17, True), (32, True), (50, True)):
        probe = matcher.prepare(drawn(rng, count))
        short, long = (float(matcher.glance(probe, reference, long=long)[0]) for long in (False, True))
        assert (long > short) if more else (long == short)


def test_cosines_of_eighths_of_a_turn() -> None:
    load, store, inner = lanes.load, lanes.store, glancing._cosine

    @numba.njit
    def cosines(eighths: Any, out: Any) -> None:
        store(out, 0, inner(load(eighths, 0)))

    for start in (-8, 0, 6):
        eighths, out = np.arange(start, start + 8, dtype=np.int32), np.zeros(8, dtype=np.float32)
        cosines(eighths, out)
        np.testing.assert_allclose(out, np.cos(eighths * np.pi / 4), atol=1e-6)


def test_candidates_come_in_order(rng: np.random.Generator) -> None:
    scratch = kernels.scratch()
    codes = rng.permutation(1 << 20)[:37].astype(np.int32)
    scratch.code[:37] = codes
    pairing._sort(37, scratch)
    np.testing.assert_array_equal(scratch.order[:37], np.sort(codes)[::-1])


def test_agreement_is_symmetric_and_full_for_a_rigid_motion(rng: np.random.Generator) -> None:
    matcher = CylinderMatcher()
    print_ = drawn(rng, 20)
    cos, sin = np.cos(0.5), np.sin(0.5)
    x, y = print_.x - 180, print_.y - 180
    moved = Minutiae(
        (cos * x - sin * y + 180).astype(np.float32),
        (sin * x + cos * y + 180).astype(np.float32),
        (print_.direction + np.float32(0.5)) % np.float32(2 * np.pi),
        print_.kind,
        print_.quality,
        400,
        400,
    )
    packed = matcher.pack([matcher.prepare(print_), matcher.prepare(moved)]).packed
    scratch = kernels.scratch()
    pairs = pairing.candidates(packed, 0, packed, 1, scratch)
    support.agree(pairs, scratch)
    tight = scratch.tight[:pairs, :pairs]
    assert pairs == kernels.MAX_PAIRS
    np.testing.assert_array_equal(scratch.pairs[0, :pairs], scratch.pairs[1, :pairs])
    np.testing.assert_array_equal(tight, tight.T)
    np.testing.assert_allclose(tight, 1 - np.eye(pairs), atol=1e-3)
    assert (scratch.loose[:pairs, :pairs] >= tight - 1e-6).all()


def _twice(x: int) -> int:
    return 2 * x


def test_a_change_in_any_room_compiles_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    found = []
    for sources in (compiling._SOURCES, compiling._SOURCES, "another"):
        monkeypatch.setattr(compiling, "_SOURCES", sources)
        kernel: Any = compiling.entrance(_twice)
        assert kernel(4) == 8
        found.append((sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values())))
    assert found == [(0, 1), (1, 0), (0, 1)]


def test_one_compiled_specialisation(rng: np.random.Generator) -> None:
    matcher = CylinderMatcher()
    whole = matcher.pack([matcher.prepare(drawn(rng, n)) for n in (0, 8, 30)])
    part = whole.part(1, 3)
    one = whole.part(2, 3)
    for references in (whole, part, one, matcher.pack([one])):
        matcher.compare_many(one, references)
        matcher.screen(one, references)
        matcher.glance(one, references)
        matcher.align(one, references.part(0, 1))
    compiled: tuple[Any, ...] = (kernels.compare_many, kernels.screen_many, kernels.glance_many)
    assert [len(kernel.signatures) for kernel in compiled] == [1, 1, 1]


def test_packed_data_is_read_only_and_padded(rng: np.random.Generator) -> None:
    packed = CylinderMatcher().prepare(drawn(rng, 13)).packed
    assert not any(array.flags.writeable for array in packed)
    assert packed.offsets.tolist() == [0, 16]
    assert (packed.x[13:] == kernels.NOWHERE_PX).all()
    assert not packed.norm[13:].any()
    assert not packed.words.reshape(DIRECTIONS, 16)[:, 13:].any()
    assert not packed.sketch.reshape(SKETCH_WORDS, SKETCHED)[:, 13:].any()


def test_rows_have_room_for_the_last_step() -> None:
    scratch = kernels.scratch()
    assert min(row.shape[-1] for row in (scratch.code, scratch.pair, scratch.moved)) >= MAX_MINUTIAE + kernels.LANES


def test_unknown_quality_weighs_like_good(rng: np.random.Generator) -> None:
    known = drawn(rng, 5)
    unknown = Minutiae(known.x, known.y, known.direction, known.kind, known.quality * np.uint8(0), 400, 400)
    weight = CylinderMatcher().prepare(unknown).packed.weight[:5]
    np.testing.assert_array_equal(weight, np.float32(cylinders._UNKNOWN_QUALITY))
    np.testing.assert_allclose(CylinderMatcher().prepare(known).packed.weight[:5], 0.8)


def test_a_twisted_print_still_lies_on_the_other(rng: np.random.Generator) -> None:
    rows = np.array([(x, y) for x in range(100, 300, 32) for y in range(80, 400, 32)], dtype=np.float64)
    rows += rng.uniform(-9, 9, rows.shape)
    direction = rng.uniform(0, 2 * np.pi, len(rows))
    twist = np.radians(30) * (rows[:, 1] - 240) / 320  # from end to end
    cos, sin = np.cos(twist), np.sin(twist)
    x, y = rows[:, 0] - 200, rows[:, 1] - 240
    twisted = np.c_[cos * x - sin * y, sin * x + cos * y] + [220, 250]
    kind = np.ones(len(rows), dtype=np.uint8)

    def print_of(places: Any, directions: Any) -> Minutiae:
        px, py = places.astype(np.float32).T.copy()
        return Minutiae(px, py, (directions % (2 * np.pi)).astype(np.float32), kind, kind * np.uint8(90), 500, 500)

    matcher = CylinderMatcher()
    found = matcher.align(
        matcher.prepare(print_of(rows, direction)), matcher.prepare(print_of(twisted, direction + twist))
    )
    assert (found.pairs[:, 0] == found.pairs[:, 1]).sum() > 0.85 * len(rows)
    assert (found.pairs[:, 0] != found.pairs[:, 1]).sum() <= 2
