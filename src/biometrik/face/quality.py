"""How good a face image is for recognition, aspect by aspect, with advice for the operator.

Names are those of ISO/IEC 29794-5. Light, contrast and sharpness are read off the middle of the aligned crop, so that
they mean the same at any image size; size, position and pose come from box and landmarks in the image; the unified
quality from how strongly the embedder answers (ADR 6). A profile sets the least acceptable value of each component:
``counter`` refuses only what recognition cannot use, ``portrait`` asks for what a document photograph needs (field
values of ICAO 9303 and BSI TR-03121).
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
from biometrik.face.pose import HEAD_MODEL, head_pose
from biometrik.reasons import Reason
from biometrik.types import Face, Quality, QualityComponent

#: Changes when a component is measured or mapped differently.
ALGORITHM: Final = "biometrik-face-quality/2"

#: Rows and columns of the crop that show skin from forehead to chin, without background.
_SKIN: Final = (slice(24, 108), slice(20, 92))

#: Eye distances that a head is wide: means of head breadth (148 mm) and interpupillary distance (63.5 mm) over both
#: sexes in ANSUR (C. Gordon et al., 1989).
_HEAD_WIDTH: Final = 2.33

#: 16 × 16 points of the crop, (2, 256) x and y.
_GRID: Final = (np.stack(np.meshgrid(np.arange(16), np.arange(16))).reshape(2, -1) + 0.5) * CROP_PX / 16

#: From the eyes down to the mouth, in eye distances, on the generic head.
_MOUTH_BELOW_EYES: Final = float(HEAD_MODEL[3:, 1].mean())

#: Blur, as the standard deviation of a Gaussian in pixels of the crop (eyes 35 px apart), at which sharpness is 100 and
#: 0: the median of the everyday photographs of lfw-dev, and what hides every feature of a face.
_SHARP_PX: Final = 0.8
_NO_DETAIL_PX: Final = 4.0
#: Two further blurs, along one direction, whose effects are compared; the coarser is given across it both times.
_FINE_PX: Final = 1.0
_COARSE_PX: Final = 2.0
#: What noise alone may exceed its expected energy by: four standard deviations of a mean over 84 × 72 pixels of which
#: each coarse blur leaves one in 50 independent.
_CHANCE: Final = 4 * math.sqrt(2 * 50 / (84 * 72))

#: Components that say how much recognition can make of the face. The worst of them is the overall value where the
#: embedder does not say; where it does, they say what the operator can mend.
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
                "sharpness": 50.0,  # 2.4 px, as a Gaussian blur of 3 px reads: 12 % FNMR at FMR 1e-3 instead of 1
                "inter_eye_distance": 22.0,  # 20 px: the crop is enlarged 1.8 times
                "head_inside": 75.0,
                # 60°, beyond which one eye is hidden, and the standard error of the estimate on top.
                "head_pose_yaw": 100.0 * math.cos(math.radians(60 + 5)) ** 2,
                "head_pose_pitch": 25.0,
                "head_pose_roll": 0.0,  # alignment undoes it
                "head_size": 0.0,
                "head_centred": 0.0,
                "natural_colour": 0.0,
                "single_face": 0.0,
                "detection_confidence": 60.0,
                # SFace: 14 of the 3,811 photographs of lfw-dev are below; more than a third of their mated comparisons
                # fail at FMR 1e-3.
                "unified_quality": 40.0,
            }
        ),
        "portrait": MappingProxyType(
            {
                "luminance_mean": 100.0,  # 60 to 210 of 255
                "under_exposure": 90.0,
                "over_exposure": 95.0,
                "dynamic_range": 60.0,
                "illumination_uniformity": 50.0,
                "sharpness": 87.0,  # 1.2 px, a thirtieth of the eye distance
                "inter_eye_distance": 100.0,  # 90 px (ICAO 9303-3)
                "head_inside": 100.0,
                # ±5° (ISO/IEC 39794-5), and the standard error of the estimate on top: 6° for yaw, 12° for pitch.
                "head_pose_yaw": 100.0 * math.cos(math.radians(5 + 6)) ** 2,
                "head_pose_pitch": 100.0 * math.cos(math.radians(5 + 12)) ** 2,
                "head_pose_roll": 100.0 * math.cos(math.radians(8)) ** 2,
                "head_size": 100.0,  # head width 0.50 to 0.75 of the image (BSI TR-03121)
                "head_centred": 80.0,  # within 0.1 of the middle, in image widths
                "natural_colour": 50.0,
                "single_face": 100.0,
                "detection_confidence": 80.0,
                # SFace: from here on FNMR at FMR 1e-3 is below the 2 % of BSI TR-03121, on lfw-dev; 92 % reach it.
                "unified_quality": 60.0,
            }
        ),
    }
)


def assess(
    image: NDArray[np.uint8],
    face: Face,
    crop: NDArray[np.uint8],
    faces_found: int,
    profile: str = "counter",
    *,
    norm: float | None = None,
    norm_range: tuple[float, float] | None = None,
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
    norm : float or None
        How strongly the embedder answered to the crop (:meth:`biometrik.face.embedding.Embedder.embed_and_grade`).
    norm_range : (low, high) or None
        Norms that mean 0 and 100 (:attr:`biometrik.face.embedding.Embedder.norm_range`), low < high.

    Returns
    -------
    Quality
        Where ``norm`` and ``norm_range`` are known, ``overall`` is the component ``unified_quality``, linear between
        the ends of the range: nothing else here orders photographs so well by how they are recognised (ADR 6). Where
        they are not, there is no such component, and ``overall`` is the lowest value among those that matter for
        recognition. ``algorithm`` names the profile and ends in ``unified`` or ``lowest component``.

    Raises
    ------
    InvalidInputError
        Unknown profile, a crop of another shape, or a range without extent.

    References
    ----------
    ISO/IEC 29794-5, quality components and their mapping to 0..100; pose by cos² of the angle.
    """
    if profile not in PROFILES:
        raise InvalidInputError(f"profile: expected one of {', '.join(PROFILES)}, got {profile!r}")
    if crop.shape != (CROP_PX, CROP_PX, 3) or crop.dtype != np.uint8:
        raise InvalidInputError(f"crop: expected (112, 112, 3) uint8, got {crop.shape} {crop.dtype}")
    if norm_range is not None and not norm_range[0] < norm_range[1]:
        raise InvalidInputError(f"norm_range: expected low < high, got {norm_range}")
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
    telling = [c for c in components if c.name in _FOR_RECOGNITION]
    if norm is None or norm_range is None:
        return Quality(min(c.value for c in telling), f"{ALGORITHM} {profile}, lowest component", components)
    low, high = norm_range
    # The embedder cannot say why it sees little: what fails most among the causes that were measured is the advice.
    cause = min(telling, key=lambda c: c.value - c.threshold).reason or Reason.FACE_UNCLEAR
    unified = component("unified_quality", 100 * (norm - low) / (high - low), norm, "embedding length", cause)
    return Quality(unified.value, f"{ALGORITHM} {profile}, unified", (*components, unified))


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
        component(
            "sharpness",
            100 * (_NO_DETAIL_PX - (blur := _blur_px(luminance))) / (_NO_DETAIL_PX - _SHARP_PX),
            blur,
            "px of blur",
            Reason.BLURRED,
        ),
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


def _kernel(blur_px: float) -> NDArray[np.float64]:
    kernel = cv2.getGaussianKernel(2 * math.ceil(4 * blur_px) + 1, blur_px)[:, 0]
    return np.asarray(kernel, dtype=np.float64)


def _noise_gain(along: NDArray[np.float64]) -> float:
    # Energy of a difference between neighbours, per variance of white noise, after blurring along and coarsely across.
    return float(np.square(np.convolve(along, [1, -1])).sum() * np.square(_COARSE).sum())


_FINE: Final = _kernel(_FINE_PX)
_COARSE: Final = _kernel(_COARSE_PX)
_FINE_NOISE: Final = _noise_gain(_FINE)
_COARSE_NOISE: Final = _noise_gain(_COARSE)


def _blur_px(luminance: NDArray[np.uint8]) -> float:
    # The Gaussian blur, standard deviation in pixels, 0.._NO_DETAIL_PX, that the edges of this crop have: an edge of
    # blur σ, blurred further by s, has gradient energy ∝ 1/√(σ² + s²), so that two such energies give σ whatever light
    # and contrast (S. Zhuo, T. Sim, "Defocus map estimation from a single image", Pattern Recognition 44, 2011). Noise
    # would look like detail: what it adds to both energies is taken off, its variance from the median of diagonal
    # differences (D. Donoho, I. Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81, 1994). The
    # blurrier of both directions counts, because motion blurs one.
    gray = luminance.astype(np.float32)
    diagonal = (gray[1:, 1:] - gray[1:, :-1] - gray[:-1, 1:] + gray[:-1, :-1]) / 2
    noise = (float(np.median(np.abs(diagonal))) / 0.6745) ** 2
    coarse = cv2.sepFilter2D(gray, -1, _COARSE, _COARSE)
    fine = cv2.sepFilter2D(gray, -1, _COARSE, _FINE), cv2.sepFilter2D(gray, -1, _FINE, _COARSE)
    blurs = []
    for axis in (0, 1):
        fine_energy = float(np.square(np.diff(fine[axis], axis=axis)).mean()) - noise * _FINE_NOISE
        coarse_energy = float(np.square(np.diff(coarse, axis=axis)).mean()) - noise * _COARSE_NOISE
        if not noise * _COARSE_NOISE * _CHANCE < coarse_energy < fine_energy:
            return _NO_DETAIL_PX  # no edges beyond what the noise alone may show, or none that a blur changes
        ratio = (fine_energy / coarse_energy) ** 2
        blurs.append(math.sqrt(max(0.0, (_COARSE_PX**2 - ratio * _FINE_PX**2) / (ratio - 1))))
    return min(max(blurs), _NO_DETAIL_PX)


def _colour_cast(skin: NDArray[np.uint8]) -> float:
    # Distance of the mean colour from where skin lies in CIELAB: a* 5..25, b* 5..35 (ISO/IEC 29794-5).
    mean = np.array(cv2.mean(skin)[:3], dtype=np.float32).reshape(1, 1, 3) / 255
    _, a, b = cv2.cvtColor(mean, cv2.COLOR_RGB2LAB)[0, 0]
    return float(math.hypot(max(5 - a, 0, a - 25), max(5 - b, 0, b - 35)))


def _place(shape: tuple[int, ...], face: Face, component: _Maker) -> tuple[QualityComponent, ...]:
    height, width = shape[:2]
    eyes = face.inter_eye_px
    middle = face.landmarks[:2].mean(axis=0)
    # A turned head shows its eyes closer together, but its eyes and mouth as far apart: the greater of both speaks.
    down = float(np.linalg.norm(face.landmarks[3:].mean(axis=0) - middle))
    true_eyes = max(eyes, down / _MOUTH_BELOW_EYES)
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
    x, y = np.linalg.solve(transform[:, :2], _GRID - transform[:, 2:])
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
