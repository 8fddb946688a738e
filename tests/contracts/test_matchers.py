"""What every minutiae matcher keeps to; the cases are the registry's own names, the prints are drawn here."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numba import cuda
from numpy.typing import NDArray

from biometrik.errors import IncompatibleTemplateError, InvalidInputError, PluginNotFoundError
from biometrik.fingerprint.matching import MATCHERS, Matcher, Prepared
from biometrik.fingers import Minutiae

Rng = np.random.Generator

_SIZE_PX = 700


def drawn(rng: Rng, count: int) -> Minutiae:
    """Return minutiae at least 12 px apart, in the middle of the print so that it can be turned."""
    places: list[NDArray[np.float64]] = []
    while len(places) < count:
        place = rng.uniform(_SIZE_PX / 2 - 130, _SIZE_PX / 2 + 130, 2)
        if all(np.hypot(*(place - other)) > 12 for other in places):
            places.append(place)
    directions = rng.uniform(0, 2 * np.pi, count)
    return minutiae(np.array(places).reshape(-1, 2), directions, rng.integers(40, 100, count))


def minutiae(places: NDArray[Any], directions: NDArray[Any], quality: NDArray[Any]) -> Minutiae:
    """Return minutiae from plain arrays."""
    x, y = places.astype(np.float32).T.copy()
    turns = (directions % (2 * np.pi)).astype(np.float32) % np.float32(2 * np.pi)
    kind = np.ones(len(x), dtype=np.uint8)
    return Minutiae(x, y, turns, kind, quality.astype(np.uint8), _SIZE_PX, _SIZE_PX)


def turned(print_: Minutiae, angle: float, shift: tuple[float, float] = (0.0, 0.0)) -> Minutiae:
    """Return the print turned about its middle and shifted."""
    places = np.stack([print_.x, print_.y], axis=1).astype(np.float64) - _SIZE_PX / 2
    cos, sin = np.cos(angle), np.sin(angle)
    places = places @ np.array([[cos, sin], [-sin, cos]]) + _SIZE_PX / 2 + shift
    return minutiae(places, print_.direction + angle, print_.quality)


def seen_again(rng: Rng, print_: Minutiae) -> Minutiae:
    """Return another impression: turned and shifted a little, inexact, some minutiae gone and some new, reordered."""
    moved = turned(print_, rng.normal(0, 0.25), (rng.normal(0, 15), rng.normal(0, 15)))
    kept = rng.permutation(len(moved))[: round(0.8 * len(moved))]
    extra = drawn(rng, len(moved) // 8)
    places = np.stack([np.r_[moved.x[kept], extra.x], np.r_[moved.y[kept], extra.y]], axis=1)
    places += rng.normal(0, 1.5, places.shape)
    directions = np.r_[moved.direction[kept], extra.direction]
    return minutiae(
        places, directions + rng.normal(0, 0.08, len(directions)), np.r_[moved.quality[kept], extra.quality]
    )


_gpu: Any = cuda.is_available
#: All, but for the one that needs a GPU where there is none; its own tests simulate one.
_HERE = [name for name in MATCHERS.names() if name != "cylinders-cuda" or _gpu()]


@pytest.fixture(scope="module", params=_HERE)
def matcher(request: pytest.FixtureRequest) -> Matcher[Any]:
    return MATCHERS.load(request.param)()


def test_the_default_is_registered() -> None:
    assert {"cylinders", "cylinders-cuda"} <= set(MATCHERS.names())
    with pytest.raises(PluginNotFoundError, match="cylinders"):
        MATCHERS.load("no-such-matcher")


def test_mates_are_more_alike_than_strangers(matcher: Matcher[Any], rng: Rng) -> None:
    prints = [drawn(rng, int(rng.integers(25, 50))) for _ in range(12)]
    references = matcher.pack([matcher.prepare(p) for p in prints])
    for i, print_ in enumerate(prints):
        similarity = matcher.compare_many(matcher.prepare(seen_again(rng, print_)), references)
        strangers = np.delete(similarity, i)
        assert similarity[i] > strangers.max() + 0.2
        assert ((similarity >= 0) & (similarity <= 1)).all()


def test_the_order_of_the_two_does_not_matter(matcher: Matcher[Any], rng: Rng) -> None:
    prints = [drawn(rng, 30) for _ in range(4)]
    prepared = [matcher.prepare(p) for p in [*prints, *(seen_again(rng, p) for p in prints)]]
    for a in prepared:
        for b in prepared:
            assert matcher.compare(a, b) == matcher.compare(b, a)


def test_many_at_once_equal_one_at_a_time(matcher: Matcher[Any], rng: Rng) -> None:
    prints = [matcher.prepare(drawn(rng, int(n))) for n in rng.integers(0, 60, 20)]
    together = matcher.compare_many(prints[0], matcher.pack(prints))
    assert together.dtype == np.float32
    assert together.tolist() == [matcher.compare(prints[0], p) for p in prints]


def test_packs_of_packs_and_parts(matcher: Matcher[Any], rng: Rng) -> None:
    prints = [matcher.prepare(drawn(rng, int(n))) for n in rng.integers(5, 40, 9)]
    whole = matcher.pack(prints)
    expected = matcher.compare_many(prints[3], whole)
    again = matcher.pack([whole.part(0, 4), whole.part(4, 4), whole.part(4, 9)])
    assert len(again) == 9
    np.testing.assert_array_equal(matcher.compare_many(prints[3], again), expected)
    np.testing.assert_array_equal(matcher.compare_many(prints[3], whole.part(2, 7)), expected[2:7])
    assert matcher.compare_many(prints[3], matcher.pack([])).shape == (0,)


@pytest.mark.parametrize("count", [12, 40])
def test_a_turned_print_keeps_its_similarity_to_itself(matcher: Matcher[Any], rng: Rng, count: int) -> None:
    print_ = drawn(rng, count)
    upright = matcher.prepare(print_)
    itself = matcher.compare(upright, upright)
    for angle in np.arange(0, 2 * np.pi, np.pi / 18):
        similarity = matcher.compare(upright, matcher.prepare(turned(print_, angle)))
        assert 0.97 * itself <= similarity <= itself + 1e-3


def test_few_minutiae_are_no_error_and_no_match(matcher: Matcher[Any], rng: Rng) -> None:
    full = matcher.prepare(drawn(rng, 40))
    for count in (0, 1, 2):
        few = matcher.prepare(drawn(rng, count))
        assert matcher.compare(few, full) == matcher.compare(full, few) < 0.6
        assert np.isfinite(matcher.compare(few, few))


def test_the_most_minutiae_that_there_can_be(matcher: Matcher[Any], rng: Rng) -> None:
    places = rng.uniform(20, _SIZE_PX - 20, (255, 2))
    most = matcher.prepare(minutiae(places, rng.uniform(0, 6, 255), np.full(255, 80)))
    assert matcher.compare(most, most) > 0.9
    assert len(matcher.align(most, most).pairs) > 200


def test_minutiae_of_one_place_and_direction_are_no_error(matcher: Matcher[Any]) -> None:
    heap = matcher.prepare(minutiae(np.full((30, 2), 300.0), np.zeros(30), np.full(30, 50)))
    assert np.isfinite(matcher.compare(heap, heap))


def test_alignment_finds_the_pairs_and_the_motion(matcher: Matcher[Any], rng: Rng) -> None:
    print_ = drawn(rng, 40)
    angle, shift = 0.4, (12.0, -7.0)
    order = rng.permutation(40)
    moved = turned(print_, angle, shift)
    moved = minutiae(np.stack([moved.x, moved.y], axis=1)[order], moved.direction[order], moved.quality[order])
    probe, reference = matcher.prepare(print_), matcher.prepare(moved)
    for first, second in ((probe, reference), (reference, probe)):
        found = matcher.align(first, second)
        pairs = found.pairs if first is probe else found.pairs[:, ::-1]
        assert len(pairs) >= 36
        assert all(order[b] == a for a, b in pairs)
        assert found.similarity == matcher.compare(probe, reference)
        assert ((found.certainty > 0.5) & (found.certainty <= 1)).all()
        ends = (print_, moved) if first is probe else (moved, print_)
        a = np.stack([ends[0].x, ends[0].y, np.ones(40)])[:, found.pairs[:, 0]]
        b = np.stack([ends[1].x, ends[1].y])[:, found.pairs[:, 1]]
        np.testing.assert_allclose(found.motion @ a, b, atol=0.5)


def test_nothing_in_common_has_no_pairs(matcher: Matcher[Any], rng: Rng) -> None:
    found = matcher.align(matcher.prepare(drawn(rng, 30)), matcher.prepare(drawn(rng, 0)))
    assert found.pairs.shape == (0, 2)
    assert found.pairs.dtype == np.int32
    np.testing.assert_array_equal(found.motion, np.eye(2, 3, dtype=np.float32))


def test_search_finds_the_mate_and_equals_the_full_comparison(matcher: Matcher[Any], rng: Rng) -> None:
    prints = [drawn(rng, 35) for _ in range(60)]
    references = matcher.pack([matcher.prepare(p) for p in prints])
    for i in (0, 31, 59):
        probe = matcher.prepare(seen_again(rng, prints[i]))
        staged = matcher.search(probe, references, limit=3, compare=6)
        full = matcher.search(probe, references, limit=3)
        assert (staged.compared, full.compared) == (6, 60)
        assert staged.indices[0] == full.indices[0] == i
        assert staged.similarity[0] == full.similarity[0] == matcher.compare_many(probe, references)[i]
        assert (np.diff(full.similarity) <= 0).all()


def test_many_prepared_at_once_are_each_by_itself(matcher: Matcher[Any], rng: Rng) -> None:
    prints = [drawn(rng, count) for count in (0, 1, 13, 40, 0, 8)]
    unknown = minutiae(np.stack([prints[3].x, prints[3].y], axis=1), prints[3].direction, np.zeros(40))
    prints.append(unknown)
    many, single = matcher.prepare_many(prints), matcher.pack([matcher.prepare(p) for p in prints])
    assert len(many) == len(single) == 7
    assert len(matcher.prepare_many([])) == 0
    probe = matcher.prepare(seen_again(rng, prints[3]))
    for act in (matcher.compare_many, matcher.screen, matcher.glance):
        np.testing.assert_array_equal(act(probe, many), act(probe, single))
        for i, print_ in enumerate(prints):
            assert act(probe, many.part(i, i + 1))[0] == act(probe, matcher.prepare(print_))[0]


def test_chosen_references_are_compared_alone(matcher: Matcher[Any], rng: Rng) -> None:
    references = matcher.prepare_many([drawn(rng, 30) for _ in range(20)])
    probe = matcher.prepare(drawn(rng, 30))
    chosen = np.array([3, 19, 0, 3])
    for act in (matcher.compare_many, matcher.screen, matcher.glance):
        np.testing.assert_array_equal(act(probe, references, chosen), act(probe, references)[chosen])
        assert act(probe, references, chosen[:0]).shape == (0,)
        for bad, message in (
            (np.array([20]), "chosen: expected 0..19, got 20..20"),
            (np.array([-1]), "chosen: expected 0..19, got -1..-1"),
            (np.array([0.0]), "chosen: expected .C,. int64"),
        ):
            with pytest.raises(InvalidInputError, match=message):
                act(probe, references, bad)


def test_a_mate_is_promising_at_a_glance(matcher: Matcher[Any], rng: Rng) -> None:
    prints = [drawn(rng, 35) for _ in range(100)]
    references = matcher.prepare_many(prints)
    for i in range(0, 100, 10):
        promise = matcher.glance(matcher.prepare(seen_again(rng, prints[i])), references)
        assert (promise >= promise[i]).sum() <= 10


def test_threads_get_the_same_numbers(matcher: Matcher[Any], rng: Rng) -> None:
    probe = matcher.prepare(drawn(rng, 40))
    references = matcher.pack([matcher.prepare(drawn(rng, 40)) for _ in range(40)])
    expected = matcher.compare_many(probe, references)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: matcher.compare_many(probe, references), range(40)):
            np.testing.assert_array_equal(found, expected)


def test_what_is_not_prepared_or_not_one_is_refused(matcher: Matcher[Any], rng: Rng) -> None:
    one = matcher.prepare(drawn(rng, 20))
    with pytest.raises(InvalidInputError, match="probe: expected one template, got a pack of 2"):
        matcher.compare_many(matcher.pack([one, one]), one)
    with pytest.raises(InvalidInputError, match="reference: expected one template, got a pack of 0"):
        matcher.compare(one, matcher.pack([]))
    with pytest.raises(InvalidInputError, match="limit, compare: expected 1 or more, got 0"):
        matcher.search(one, one, limit=0)

    class Foreign(Prepared):
        sizes = np.ones(1, dtype=np.int32)

        def __len__(self) -> int:
            return 1

        def part(self, start: int, stop: int) -> "Foreign":
            return self

    with pytest.raises(IncompatibleTemplateError, match="got Foreign; prepare the minutiae with this matcher"):
        matcher.compare(one, Foreign())
    with pytest.raises(IncompatibleTemplateError):
        matcher.pack([one, Foreign()])


def test_warm_up_and_contract(matcher: Matcher[Any]) -> None:
    matcher.warm_up()
    assert {"algorithm", "version"} <= set(matcher.contract())
