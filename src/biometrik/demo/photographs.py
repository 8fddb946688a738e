"""The demo's photographs: found where a dependency ships them, cut out, and photographed again.

Only one photograph of each person is at hand. The frame at the counter is therefore a *re-photographed copy* of it:
another scale, angle, light, sharpness and compression. That is easier than another photograph on another day, and is
said wherever such a copy is shown.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.types import Box, FaceImage


@dataclass(frozen=True, slots=True)
class Source:
    """A photograph that a dependency ships.

    Parameters
    ----------
    package, path : str
        Import name of the package, and the file inside it.
    rights : str
        Whose it is, as far as the package says.
    """

    package: str
    path: str
    rights: str


GROUP: Final = Source(
    "insightface",
    "data/images/t1.jpg",
    "test photograph of the insightface package; its rights are its owners', so do not publish this page",
)
ASTRONAUT: Final = Source("skimage", "data/astronaut.png", "NASA, public domain; ships with scikit-image")
PORTRAIT: Final = Source(
    "insightface",
    "data/images/Tom_Hanks_54745.png",
    "test photograph of the insightface package; its rights are its owners', so do not publish this page",
)
CAT: Final = Source("skimage", "data/chelsea.png", "S. van der Walt, CC0; ships with scikit-image")
SOURCES: Final = (GROUP, ASTRONAUT, PORTRAIT, CAT)


def find(source: Source) -> Path:
    """Return where a photograph lies, without importing the package.

    Raises
    ------
    InvalidInputError
        The package, or the file in it, is not installed.
    """
    spec = find_spec(source.package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / source.path
        if file.is_file():
            return file
    raise InvalidInputError(
        f"demo photographs: expected {source.path} in the package {source.package}, got none; run scripts/setup"
    )


def cut_out(image: FaceImage, box: Box, *, margin: float = 0.9) -> FaceImage:
    """Return the part of a photograph around a face.

    Parameters
    ----------
    image : FaceImage
        Holds the face.
    box : Box
        Around the face, pixels.
    margin : float
        Room on each side, in sides of the box; less where the photograph ends.
    """
    side = max(box.width, box.height)
    x, y = box.centre
    reach = side * (0.5 + margin)
    left, top = max(0, round(x - reach)), max(0, round(y - reach))
    right, bottom = min(image.width_px, round(x + reach)), min(image.height_px, round(y + reach))
    return FaceImage(np.ascontiguousarray(image.pixels[top:bottom, left:right]))


def photographed_again(image: FaceImage, seed: int) -> FaceImage:
    """Return the same photograph as another camera might have taken it.

    Turned up to ±6°, scaled to 70..90 % of its size, shifted up to 3 %, lit from one side, with another exposure and
    colour of light, a little out of focus, noisy, and compressed as JPEG.

    Parameters
    ----------
    image : FaceImage
        The original.
    seed : int
        The same seed gives the same copy.
    """
    rng = np.random.default_rng(seed)
    height, width = image.pixels.shape[:2]
    scale, angle_deg = rng.uniform(0.7, 0.9), rng.uniform(3, 6) * rng.choice((-1, 1))
    size = max(48, round(width * scale)), max(48, round(height * scale))
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle_deg, size[0] / width)
    turn[:, 2] += np.array(size) / 2 - (width / 2, height / 2) + rng.uniform(-0.03, 0.03, 2) * size
    moved = cv2.warpAffine(image.pixels, turn, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT_101)

    light = np.asarray(moved, dtype=np.float64) / 255
    light *= (1 + 0.18 * np.linspace(-1, 1, size[0]) * rng.choice((-1, 1)))[None, :, None]
    light *= rng.uniform((0.95, 0.95, 0.82), (1.08, 1.02, 0.95))
    light = np.clip(light, 0, 1) ** rng.uniform(0.8, 1.25)
    light = np.asarray(cv2.GaussianBlur(light, (0, 0), 0.7), dtype=np.float64)
    return _compressed(light + rng.normal(0, 0.015, light.shape), quality=70)


def underexposed(image: FaceImage, stops: float, seed: int) -> FaceImage:
    """Return the same photograph with ``stops`` stops less light, and the noise that a sensor has left in the dark."""
    rng = np.random.default_rng(seed)
    light: NDArray[np.float64] = (image.pixels / 255.0) ** 2.2 * 2.0**-stops
    light += rng.normal(0, 2e-5, light.shape)
    return _compressed(np.clip(light, 0, 1) ** (1 / 2.2), quality=70)


def jpeg(pixels: NDArray[np.uint8], *, quality: int = 85) -> bytes:
    """Encode (H, W, 3) uint8 RGB as JPEG."""
    done, data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise InvalidInputError(f"image: expected one that can be encoded, got {pixels.shape}")
    return data.tobytes()


def _compressed(light: NDArray[np.float64], *, quality: int) -> FaceImage:
    # 0..1 to pixels, through JPEG as a camera or a network would send it.
    return FaceImage.from_bytes(jpeg((np.clip(light, 0, 1) * 255 + 0.5).astype(np.uint8), quality=quality))
