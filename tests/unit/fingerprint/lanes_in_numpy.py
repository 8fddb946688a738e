"""The lanes' functions as NumPy knows them, for kernels that run as plain Python."""

from typing import Any, Final

import numpy as np

from biometrik.fingerprint.kernels.lanes import LANES


def _store(array: Any, index: int, lanes: Any) -> None:
    array[index : index + LANES] = lanes


TWINS: Final[dict[str, Any]] = {
    "load": lambda array, index: array[index : index + LANES].copy(),
    "store": _store,
    "fetch": lambda array, index: None,
    "spread": lambda x: np.full(LANES, x),
    "places": lambda index: np.arange(index, index + LANES, dtype=np.int32),
    "count_bits": lambda words: np.bitwise_count(words).astype(np.uint64),
    "real": lambda x: x.astype(np.float32),
    "whole": lambda x: x.astype(np.int32),
    "root": np.sqrt,
    "larger": np.maximum,
    "smaller": np.minimum,
    "greatest": lambda x: int(x.max()),
    "least": lambda x: int(x.min()),
    "total": lambda x: np.float32(np.add.accumulate(x)[-1]),
    "is_above": lambda a, b: np.greater(a, b).astype(np.int32),
    "nothing_at": lambda x, places, place: np.where(places == place, x.dtype.type(0), x),
}
