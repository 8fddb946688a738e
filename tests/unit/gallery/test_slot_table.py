"""The table of slots against a dict, with ids that collide."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biometrik.gallery import slot_table as module
from biometrik.gallery.slot_table import SlotTable, _home

_PLACES = 64  # of a small table
#: Eighty ids that all want one of the last two places of a small table: chains wrap around its end.
_CROWDED = [n for n in range(4000) if _home(n, _PLACES) >= _PLACES - 2][:80]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.booleans(), st.lists(st.sampled_from(_CROWDED) | st.integers(0, 2**62), max_size=8, unique=True)),
        max_size=25,
    ),
    st.sampled_from([1, 5, module._MOVED]),
)
def test_it_is_a_dict(steps: list[tuple[bool, list[int]]], moved: int) -> None:
    table = SlotTable()
    model: dict[int, int] = {}
    slot = 0
    for put, numbers in steps:
        ids = np.array(numbers, dtype=np.int64)
        if put:
            with pytest.MonkeyPatch.context() as patch:  # small portions, so that a growth lasts
                patch.setattr(module, "_MOVED", moved)
                patch.setattr(module, "_MOVED_PER_ID", 0)
                table.make_room(slot + len(ids), len(ids))
            table.put(ids, np.arange(slot, slot + len(ids), dtype=np.int64))
            model.update(zip(numbers, range(slot, slot + len(ids)), strict=True))
            slot += len(ids)
        else:
            table.discard(ids)
            for number in numbers:
                model.pop(number, None)
        assert len(table) == len(model)
        asked = [*model, *_CROWDED, 2**62 - 1]
        assert table.slots_of(np.array(asked, dtype=np.int64)).tolist() == [model.get(number, -1) for number in asked]


def test_a_growth_goes_in_portions() -> None:
    table = SlotTable()
    ids = np.arange(1 << 14, dtype=np.int64)
    table.make_room(len(ids), len(ids))
    table.put(ids, ids)
    others: list[int] = []
    for number in range(1 << 14, (1 << 14) + 40):  # one more than half of the places, and some
        table.make_room(number + 1, 1)
        table.put(np.array([number]), np.array([number]))
        others.append(int(np.count_nonzero(table._before)))
        every = np.arange(number + 1, dtype=np.int64)
        assert (table.slots_of(every) == every).all()
    fell = -np.diff(others)
    assert others[0] == 1 << 14, "nobody moves when the larger table is made"
    assert 0 < fell.max() <= module._MOVED
    assert others[-1] == 0
    table.discard(every)
    assert not table._places.any()


def test_it_grows_and_empties(rng: np.random.Generator) -> None:
    table = SlotTable()
    ids = rng.permutation(20_000).astype(np.int64)
    for start in range(0, 20_000, 333):
        part = ids[start : start + 333]
        table.make_room(start + len(part), len(part))
        table.put(part, np.arange(start, start + len(part), dtype=np.int64))
    assert (table.slots_of(ids) == np.arange(20_000)).all()
    table.discard(ids[::2])
    assert (table.slots_of(ids[1::2]) == np.arange(1, 20_000, 2)).all()
    assert (table.slots_of(ids[::2]) == -1).all()
    table.discard(ids[1::2])
    assert len(table) == 0
