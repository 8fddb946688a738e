"""Codes in mapped memory: zeros, at a cache line, and there as long as anybody looks at them."""

import gc
import mmap
import os
from typing import Any

import numpy as np
import pytest

from biometrik.gallery import int8_codes
from biometrik.gallery.int8_codes import GROUP, segment

_ROWS = 100 * GROUP
_DIMENSION = 128


@pytest.mark.parametrize("dimension", [1, 127, _DIMENSION])
def test_a_segment_is_zeros_at_a_cache_line(dimension: int) -> None:
    room = segment(_ROWS, dimension)
    assert room.codes.shape == (_ROWS * int8_codes.padded(dimension),)
    assert not any(array.any() for array in room)
    assert room.codes.ctypes.data % 64 == 0
    assert room.codes.flags.writeable


def test_room_of_one_that_is_gone_is_zeros_again() -> None:
    for _ in range(20):  # the system may well give the same room
        codes = segment(_ROWS, _DIMENSION).codes
        assert not codes.any()
        codes[:] = 255


def test_a_view_keeps_the_room() -> None:
    room = segment(_ROWS, _DIMENSION)
    view = room.codes.reshape(_ROWS, _DIMENSION)[GROUP:]
    view[:] = 7
    del room
    gc.collect()
    others = [segment(_ROWS, _DIMENSION).codes for _ in range(10)]
    for other in others:
        other[:] = 9
    assert (view == 7).all()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_has_codes_of_its_own() -> None:
    codes = segment(_ROWS, _DIMENSION).codes
    codes[:] = 7
    child = os.fork()
    if child == 0:
        same = (codes == 7).all() and not segment(_ROWS, _DIMENSION).codes.any()
        codes[:] = 9
        os._exit(0 if same and (codes == 9).all() else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert (codes == 7).all(), "what a child writes is its own"


def test_room_beyond_the_address_space_is_refused_in_words() -> None:
    with pytest.raises(MemoryError, match=f"codes: expected room for {2**56} bytes") as refused:
        segment(2**46, 1024)
    assert isinstance(refused.value.__cause__, OSError)


def test_a_system_that_gives_no_room_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> mmap.mmap:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", none)
    with pytest.raises(MemoryError, match=f"codes: expected room for {_ROWS * _DIMENSION} bytes"):
        segment(_ROWS, _DIMENSION)


def test_a_system_without_huge_pages_does(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain(mmap.mmap):
        def madvise(self, *_: Any) -> None:
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(mmap, "mmap", Plain)
    codes = segment(_ROWS, _DIMENSION).codes
    codes[-1] = 1
    assert np.flatnonzero(codes).tolist() == [len(codes) - 1]
