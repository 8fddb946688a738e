"""Distributions that overwrite each other's files when both are installed."""

from dataclasses import dataclass
from importlib import metadata
from typing import Final

#: Distributions that install the same files, by what is imported.
_RIVALS: Final = {
    "onnxruntime": (
        "onnxruntime",
        "onnxruntime-gpu",
        "onnxruntime-openvino",
        "onnxruntime-directml",
        "onnxruntime-qnn",
    ),
    "faiss": ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cuvs"),
    "cv2": (
        "opencv-python",
        "opencv-python-headless",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
}


@dataclass(frozen=True, slots=True)
class WheelConflict:
    """Distributions that are installed together but overwrite each other's files.

    Parameters
    ----------
    module : str
        What is imported.
    distributions : tuple of str
        At least two; whichever was installed last decides what runs.
    """

    module: str
    distributions: tuple[str, ...]

    @property
    def remedy(self) -> str:
        """The commands that leave one of them."""
        names = " ".join(self.distributions)
        return f"pip uninstall -y {names}, then install one of them"


def wheel_conflicts() -> list[WheelConflict]:
    """Name the distributions that overwrite each other here: of ONNX Runtime, FAISS and OpenCV.

    Returns
    -------
    list of WheelConflict
        Empty where the installation is clean.

    Notes
    -----
    Removing one of such a pair deletes files of the other: both must go before one is installed again.
    """
    conflicts = []
    for module, rivals in _RIVALS.items():
        installed = tuple(name for name in rivals if _is_installed(name))
        if len(installed) > 1:
            conflicts.append(WheelConflict(module, installed))
    return conflicts


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
