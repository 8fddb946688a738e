"""Five landmarks to the 112 × 112 crop that face embedders are trained on."""

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError

#: Side of the aligned crop, pixels.
CROP_PX: Final = 112

#: Where the five landmarks belong in the crop, pixels (ArcFace, Deng et al. 2019; used by SFace too).
CROP_LANDMARKS: Final = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def similarity_transform(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """Least-squares similarity (rotation, scale, shift; no reflection) that takes landmarks to the crop.

    Parameters
    ----------
    landmarks : (5, 2) float
        x, y in pixels of the image.

    Returns
    -------
    (2, 3) float64
        ``[A | t]`` with ``crop = A @ image + t``.

    Raises
    ------
    InvalidInputError
        The landmarks fall on one point, or are not finite.

    References
    ----------
    S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
    IEEE TPAMI 13(4), 1991. In the plane, without reflection, it has this closed form.
    """
    source = np.asarray(landmarks, dtype=np.float64)
    source_mean, target_mean = source.mean(axis=0), CROP_LANDMARKS.mean(axis=0)
    s, t = source - source_mean, CROP_LANDMARKS - target_mean
    spread = float((s * s).sum())
    if not np.isfinite(spread) or spread < 1e-6:
        raise InvalidInputError("landmarks: expected five distinct finite points")
    a = float((s * t).sum()) / spread
    b = float((s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum()) / spread
    linear = np.array([[a, -b], [b, a]])
    return np.hstack([linear, (target_mean - linear @ source_mean)[:, None]])


def align(image: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Cut the face out, upright and in the place that embedders expect.

    Parameters
    ----------
    image : (H, W, 3) uint8
        RGB.
    landmarks : (5, 2) float
        x, y in pixels of ``image``.

    Returns
    -------
    (112, 112, 3) uint8
        RGB; black where the crop reaches beyond the image.

    Raises
    ------
    InvalidInputError
        The landmarks fall on one point, or are not finite.
    """
    image, transform = _reduced(image, similarity_transform(landmarks))
    crop = cv2.warpAffine(image, transform, (CROP_PX, CROP_PX), flags=cv2.INTER_LINEAR)
    return crop.astype(np.uint8, copy=False)


def _reduced(image: NDArray[np.uint8], transform: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    # Bilinear sampling reads 2 × 2 pixels: a face that shrinks to half or less would be aliased. So the part of
    # the image that the crop needs is first averaged down by a whole factor, and the transform adapted.
    linear, shift = transform[:, :2], transform[:, 2]
    factor = int(1 / math.hypot(linear[0, 0], linear[1, 0]))
    if factor < 2:
        return image, transform
    corners = np.array([[0, 0], [CROP_PX, 0], [0, CROP_PX], [CROP_PX, CROP_PX]], dtype=np.float64)
    source = np.linalg.solve(linear, (corners - shift).T).T
    limit = np.array([image.shape[1], image.shape[0]])
    start = np.clip(np.floor(source.min(axis=0)) - factor, 0, limit).astype(int)
    stop = np.clip(np.ceil(source.max(axis=0)) + factor, 0, limit).astype(int)
    size = (stop - start) // factor
    if size.min() < 1:  # the face lies outside the image: nothing to average
        return image, transform
    stop = start + size * factor
    part = image[start[1] : stop[1], start[0] : stop[0]]
    small = cv2.resize(part, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA)
    # Pixel centres: x = factor·(x' + 0.5) − 0.5 + start.
    moved = linear @ (start + (factor - 1) / 2) + shift
    return small.astype(np.uint8, copy=False), np.hstack([factor * linear, moved[:, None]])
