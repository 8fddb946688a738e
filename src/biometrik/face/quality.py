"""How good a face image is for recognition, aspect by aspect, with advice for the operator.

Names are those of ISO/IEC 29794-5. Light, contrast and sharpness are read off the middle of the aligned crop, so that
they mean the same at any image size; size, position and pose come from box and landmarks in the image. A profile sets
the least acceptable value of each component: ``counter`` refuses only what recognition cannot use, ``portrait`` asks
for what a document photograph needs (field values of ICAO 9303 and BSI TR-03121).
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.face.alignment import CROP_PX, similarity_transform
from biometrik.reasons import Reason
from biometrik.types import Face, Quality, QualityComponent

#: Changes when a component is measured or mapped differently.
ALGORITHM: Final = "biometrik-face-quality/1"

#: Rows and columns of the crop that show skin from forehead to chin, without background.
_SKIN: Final = (slice(24, 108), slice(20, 92))

#: Eye distances that a head is wide and high: means of head breadth (148 mm), menton to crown (225 mm) and
#: interpupillary distance (63.5 mm) over both sexes in ANSUR (C. Gordon et al., 1989).
_HEAD_WIDTH: Final = 2.33
_HEAD_HEIGHT: Final = 3.54
#: From the crown down to the eyes, in head heights: the eyes are about half-way.
_EYES_BELOW_CROWN: Final = 0.5

#: A generic head: the five landmarks in eye distances, x to the image's right, y down, z towards the camera. x and y
#: are the mean of the bundled detector's landmarks over the everyday photographs of lfw-dev, made symmetrical: on
#: average people look into the camera. The nose tip stands out by 0.45 (28 mm), the mouth's corners by 0.1.
_HEAD_MODEL: Final = np.array(
    [[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.573, 0.45], [-0.428, 1.034, 0.1], [0.428, 1.034, 0.1]]
)
_HEAD_FIT: Final = np.linalg.pinv(np.column_stack([_HEAD_MODEL, np.ones(5)]))

#: Components that say how much recognition can make of the face; the worst of them is the overall value.
_FOR_RECOGNITION: Final = frozenset(
    (
        "luminance_mean",
        "under_exposure",
        "over_exposure",
        "dynamic_range",
        "illumination_uniformity",
        "sharpness",
        "inter_eye_distance",
        "head_inside",
        "head_pose_yaw",
        "head_pose_pitch",
    )
)

_Thresholds = Mapping[str, float]

#: Least acceptable values, 0..100. What a value means in units of the measurement stands at each component below.
PROFILES: Final[Mapping[str, _Thresholds]] = MappingProxyType(
    {
        "counter": MappingProxyType(
            {
                "luminance_mean": 50.0,  # 30 to 232 of 255; FNMR has risen by half at 27 and doubled at 16
                "under_exposure": 50.0,  # half of the face black
                "over_exposure": 50.0,  # half of the face white
                "dynamic_range": 25.0,  # 25 gray levels
                "illumination_uniformity": 5.0,
                "sharpness": 32.0,  # a blur of 3 px in the crop (eyes 35 px apart): FNMR times six
                "inter_eye_distance": 22.0,  # 20 px: the crop is enlarged 1.8 times
                "head_inside": 75.0,
                "head_pose_yaw": 25.0,  # 60°: beyond, one eye is hidden
                "head_pose_pitch": 25.0,
                "head_pose_roll": 0.0,  # alignment undoes it
                "head_size": 0.0,
                "head_centred": 0.0,
                "natural_colour": 0.0,
                "single_face": 0.0,
                "detection_confidence": 60.0,
            }
        ),
        "portrait": MappingProxyType(
            {
                "luminance_mean": 100.0,  # 60 to 210 of 255
                "under_exposure": 90.0,
                "over_exposure": 95.0,
                "dynamic_range": 60.0,
                "illumination_uniformity": 50.0,
                "sharpness": 60.0,
                "inter_eye_distance": 100.0,  # 90 px (ICAO 9303-3)
                "head_inside": 100.0,
                # ±5° (ISO/IEC 39794-5), and the standard error of the estimate on top: 5° for yaw, 10° for pitch.
                "head_pose_yaw": 100.0 * math.cos(math.radians(10)) ** 2,
                "head_pose_pitch": 100.0 * math.cos(math.radians(15)) ** 2,
                "head_pose_roll": 100.0 * math.cos(math.radians(8)) ** 2,
                "head_size": 100.0,  # head width 0.50 to 0.75 of the image (BSI TR-03121)
                "head_centred": 80.0,  # within 0.1 of the middle, in image widths
                "natural_colour": 50.0,
                "single_face": 100.0,
                "detection_confidence": 80.0,
            }
        ),
    }
)


def assess(
    image: NDArray[np.uint8], face: Face, crop: NDArray[np.uint8], faces_found: int, profile: str = "counter"
) -> Quality:
    """Measure every component of a face's quality.

    Parameters
    ----------
    image : (H, W, 3) uint8
        The RGB image in which the face is; only its size is read.
    face : Face
        Box and landmarks, pixels of ``image``.
    crop : (112, 112, 3) uint8
        The aligned RGB crop.
    faces_found : int
        Faces in the image, at least 1.
    profile : {"counter", "portrait"}
        Which thresholds are in force.

    Returns
    -------
    Quality
        ``overall`` is the lowest value among the components that matter for recognition: a chain is as strong as its
        weakest link, and the weakest is what the operator can mend.

    Raises
    ------
    InvalidInputError
        Unknown profile, or a crop of another shape.

    References
    ----------
    ISO/IEC 29794-5, quality components and their mapping to 0..100; pose by cos² of the angle.
    """
    if profile not in PROFILES:
        raise InvalidInputError(f"profile: expected one of {', '.join(PROFILES)}, got {profile!r}")
    if crop.shape != (CROP_PX, CROP_PX, 3) or crop.dtype != np.uint8:
        raise InvalidInputError(f"crop: expected (112, 112, 3) uint8, got {crop.shape} {crop.dtype}")
    thresholds = PROFILES[profile]

    def component(name: str, value: float, measured: float, unit: str, reason: Reason) -> QualityComponent:
        value = float(min(100.0, max(0.0, value)))
        threshold = thresholds[name]
        return QualityComponent(name, value, float(measured), unit, threshold, reason if value < threshold else None)

    components = (*_light(crop, component), *_place(image.shape, face, component), *_pose(face, component))
    components += (
        component("single_face", 100.0 / max(1, faces_found), faces_found, "faces", Reason.SEVERAL_FACES),
        component("detection_confidence", 100 * face.confidence, face.confidence, "", Reason.DETECTION_UNCERTAIN),
    )
    overall = min(c.value for c in components if c.name in _FOR_RECOGNITION)
    return Quality(overall, f"{ALGORITHM} {profile}", components)


_Maker = Callable[[str, float, float, str, Reason], QualityComponent]


def _light(crop: NDArray[np.uint8], component: _Maker) -> tuple[QualityComponent, ...]:
    skin = np.ascontiguousarray(crop[_SKIN])
    luminance = cv2.cvtColor(skin, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)
    counts = np.bincount(luminance.ravel(), minlength=256) / luminance.size
    mean = float(counts @ np.arange(256))
    # Black and white as ISO/IEC 29794-5 counts them: luminance up to 25, and from 247.
    black, white = float(counts[:26].sum()), float(counts[247:].sum())
    low, high = np.searchsorted(np.cumsum(counts), [0.05, 0.95])
    spread = float(high - low)
    # Mean: full marks from 60 to 210, none at 0 and 255; beyond these a face fills less than a quarter of the range.
    mean_value = 100 * min(mean / 60, 1.0, (255 - mean) / 45)
    return (
        component(
            "luminance_mean",
            mean_value,
            mean,
            "0..255",
            Reason.TOO_DARK if mean < 128 else Reason.TOO_BRIGHT,
        ),
        component("under_exposure", 100 * (1 - black), black, "share of pixels", Reason.TOO_DARK),
        component("over_exposure", 100 * (1 - white), white, "share of pixels", Reason.TOO_BRIGHT),
        component("dynamic_range", spread, spread, "gray levels", Reason.LOW_CONTRAST),
        component(
            "illumination_uniformity",
            100 * (evenness := _evenness(luminance)),
            evenness,
            "histogram overlap",
            Reason.UNEVEN_LIGHT,
        ),
        component("sharpness", 400 * (detail := _detail(luminance)), detail, "detail lost by blurring", Reason.BLURRED),
        component("natural_colour", 100 - 4 * (cast := _colour_cast(skin)), cast, "CIELAB", Reason.UNNATURAL_COLOUR),
    )


def _evenness(luminance: NDArray[np.uint8]) -> float:
    # Overlap, 0..1, of the luminance histograms of the face's two halves, in 16 bins so that noise does not count.
    middle = luminance.shape[1] // 2
    left, right = (
        np.bincount(half.ravel() >> 4, minlength=16) / half.size
        for half in (luminance[:, :middle], luminance[:, middle:])
    )
    return float(np.minimum(left, right).sum())


def _detail(luminance: NDArray[np.uint8]) -> float:
    # Share, 0..1, of the differences between neighbours that a further blur takes away: what is blurred already has
    # little to lose. F. Crete et al., "The blur effect: perception and estimation with a new no-reference perceptual
    # blur metric", SPIE 6492, 2007, with a mean over 5 pixels; the smaller of both directions, so motion counts.
    # Smoothed a little first: the grain of the camera, and of 8 bits, is no detail.
    gray = cv2.blur(luminance.astype(np.float32), (3, 3))
    shares = []
    for axis, kernel in ((0, (1, 5)), (1, (5, 1))):
        before = np.abs(np.diff(gray, axis=axis))
        after = np.abs(np.diff(cv2.blur(gray, kernel), axis=axis))
        total = float(before.sum())
        shares.append(float(np.maximum(before - after, 0).sum()) / total if total else 0.0)
    return min(shares)


def _colour_cast(skin: NDArray[np.uint8]) -> float:
    # Distance of the mean colour from where skin lies in CIELAB: a* 5..25, b* 5..35 (ISO/IEC 29794-5).
    mean = skin.reshape(-1, 3).mean(axis=0).astype(np.float32).reshape(1, 1, 3) / 255
    _, a, b = cv2.cvtColor(mean, cv2.COLOR_RGB2LAB)[0, 0]
    return float(math.hypot(max(5 - a, 0, a - 25), max(5 - b, 0, b - 35)))


def _place(shape: tuple[int, ...], face: Face, component: _Maker) -> tuple[QualityComponent, ...]:
    height, width = shape[:2]
    eyes = face.inter_eye_px
    middle = face.landmarks[:2].mean(axis=0)
    # A turned head shows its eyes closer together, but its eyes and mouth as far apart: the greater of both speaks.
    down = float(np.linalg.norm(face.landmarks[3:].mean(axis=0) - middle))
    true_eyes = max(eyes, down / float(_HEAD_MODEL[3:, 1].mean()))
    head = _HEAD_WIDTH * true_eyes / width
    size_value = 100 * min(head / 0.50, 1.0, max(0.0, 2 - head / 0.75))
    centre = float(middle[0] / width)
    inside = _inside(face, width, height)
    return (
        component("inter_eye_distance", 100 * eyes / 90, eyes, "px", Reason.FACE_TOO_SMALL),
        component(
            "head_size",
            size_value,
            head,
            "of image width",
            Reason.FACE_TOO_SMALL if head < 0.6 else Reason.FACE_TOO_LARGE,
        ),
        component("head_centred", 100 - 200 * abs(centre - 0.5), centre, "of image width", Reason.FACE_OFF_CENTRE),
        component("head_inside", 100 * inside, inside, "share of crop", Reason.FACE_CUT_OFF),
    )


def _inside(face: Face, width: int, height: int) -> float:
    # Share of the aligned crop, 0..1, that lies inside the image, on a grid of 16 × 16 points.
    transform = similarity_transform(face.landmarks)
    steps = (np.arange(16) + 0.5) * CROP_PX / 16
    points = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    x, y = np.linalg.solve(transform[:, :2], (points - transform[:, 2]).T)
    return float(np.mean((x >= 0) & (x < width) & (y >= 0) & (y < height)))


def _pose(face: Face, component: _Maker) -> tuple[QualityComponent, ...]:
    yaw, pitch, roll = head_pose(face.landmarks)
    return (
        component("head_pose_yaw", _pose_value(yaw), math.degrees(yaw), "degrees", Reason.LOOK_STRAIGHT),
        component("head_pose_pitch", _pose_value(pitch), math.degrees(pitch), "degrees", Reason.LOOK_STRAIGHT),
        component("head_pose_roll", _pose_value(roll), math.degrees(roll), "degrees", Reason.HEAD_TILTED),
    )


def _pose_value(angle: float) -> float:
    return 100 * max(0.0, math.cos(angle)) ** 2


def head_pose(landmarks: NDArray[np.floating]) -> tuple[float, float, float]:
    """Estimate how the head is turned.

    A generic head is fitted to the five landmarks in weak perspective (linear least squares). Roll is exact; yaw is
    good to about 5°, pitch to about 10°, because noses and faces differ in length.

    Parameters
    ----------
    landmarks : (5, 2) float
        x, y in pixels.

    Returns
    -------
    yaw, pitch, roll : float
        Radians. Yaw is positive when the head turns to the image's right, pitch when it looks down, roll when it
        leans to the image's right.

    Examples
    --------
    >>> yaw, pitch, roll = head_pose(40 * _HEAD_MODEL[:, :2])
    >>> max(abs(yaw), abs(pitch), abs(roll)) < 1e-9
    True
    """
    points = np.asarray(landmarks, dtype=np.float64)
    across = points[1] - points[0]
    roll = math.atan2(across[1], across[0])
    c, s = math.cos(-roll), math.sin(-roll)
    upright = points @ np.array([[c, -s], [s, c]]).T
    fit = _HEAD_FIT @ upright  # (4, 2): what x, y, z and 1 of the model contribute to image x and y
    yaw = math.atan2(fit[2, 0], fit[0, 0])
    pitch = math.atan2(fit[2, 1], fit[1, 1])
    return yaw, pitch, roll
