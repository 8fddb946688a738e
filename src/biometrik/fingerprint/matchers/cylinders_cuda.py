"""The default matcher on an NVIDIA GPU: one block of threads a reference (:mod:`biometrik.fingerprint.kernels.cuda`).

Templates, contract and stages are those of :mod:`biometrik.fingerprint.matchers.cylinders`; similarities are equal but
for rounding (within 2e-4 where no candidate changes its level by it). What a pack derives is copied to the GPU at its
first comparison and stays there as long as the pack lives. Worth it for packs, not for single comparisons: each call
waits for the GPU. A glance is the processor's: it takes a tenth of a microsecond. The kernels compile at first use, for
each process anew: :meth:`warm_up`.
"""

import dataclasses
import threading
import weakref
from contextlib import AbstractContextManager
from typing import Any, Final

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from biometrik import gpu
from biometrik.errors import ProviderUnavailableError
from biometrik.fingerprint.descriptors import NORMALS
from biometrik.fingerprint.kernels import SCREENED, Packed
from biometrik.fingerprint.kernels import cuda as kernels
from biometrik.fingerprint.matchers.cylinders import CylinderMatcher, Cylinders
from biometrik.fingerprint.matching import Alignment

_cuda: Final[Any] = cuda


class CudaCylinderMatcher(CylinderMatcher):
    """See the module docstring; everything else is :class:`CylinderMatcher`.

    Raises
    ------
    ProviderUnavailableError
        There is no such GPU that CUDA can use.
    """

    def __init__(self, *, device_id: int = 0) -> None:
        if not _cuda.is_available():
            raise ProviderUnavailableError(
                "matcher cylinders-cuda: expected an NVIDIA GPU with its driver and CUDA toolkit, got none; "
                "install them, or choose the matcher cylinders"
            )
        gpu.refuse_missing("matcher cylinders-cuda", device_id, len(_cuda.gpus))
        super().__init__(device_id=device_id)
        self._lock = threading.Lock()
        self._copies: dict[int, Any] = {}
        with self._device():
            self._normals = _cuda.to_device(NORMALS)

    def _compare_many(
        self, probe: Cylinders, references: Cylinders, chosen: NDArray[np.int64], similarity: NDArray[np.float32]
    ) -> None:
        if len(chosen) == 0:
            return
        with self._device():
            found = _cuda.device_array(len(chosen), np.float32)
            launch = kernels.compare_many[len(chosen), kernels.THREADS]
            launch(self._there(probe), self._there(references), _cuda.to_device(chosen), self._normals, found)
            found.copy_to_host(similarity)

    def _screen(
        self, probe: Cylinders, references: Cylinders, chosen: NDArray[np.int64], promise: NDArray[np.float32]
    ) -> None:
        if len(chosen) == 0:
            return
        with self._device():
            found = _cuda.device_array(len(chosen), np.float32)
            launch = kernels.screen_many[len(chosen), kernels.THREADS]
            launch(self._there(probe), self._there(references), _cuda.to_device(chosen), SCREENED, found)
            found.copy_to_host(promise)

    def _align(self, probe: Cylinders, reference: Cylinders) -> Alignment:
        # One pair, for people: on the processor, with the similarity that comparisons here return.
        return dataclasses.replace(super()._align(probe, reference), similarity=self.compare(probe, reference))

    def _device(self) -> AbstractContextManager[None]:
        # CUDA's calls within go to this GPU; the choice is each thread's own.
        device: AbstractContextManager[None] = _cuda.gpus[self._device_id]
        return device

    def _there(self, templates: Cylinders) -> Packed:
        # Parts share their pack's long arrays, and so the copies.
        return Packed(*(self._copy(array) for array in templates.packed))

    def _copy(self, array: NDArray[Any]) -> Any:
        with self._lock:
            copy = self._copies.get(id(array))
            if copy is None:
                copy = self._copies[id(array)] = _cuda.to_device(array)
                weakref.finalize(array, self._copies.pop, id(array), None).atexit = False
            return copy


MATCHER = CudaCylinderMatcher
