"""The page's pictures: photographs with what was found in them, quality bars, and the scale of scores."""

from base64 import b64encode
from html import escape
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrik import wording
from biometrik.demo.photographs import jpeg
from biometrik.demo.steps import Picture
from biometrik.face.alignment import align
from biometrik.fingers import FingerprintImage
from biometrik.reasons import Reason
from biometrik.synthetic.marking import stamped
from biometrik.types import Face, FaceImage, Quality, QualityComponent

_MAX_SIDE_PX: Final = 480
#: Geometry of the scale, in its own units.
_WIDTH: Final = 600
_LEFT, _RIGHT, _AXIS_Y = 14, 586, 44


def sample(picture: Picture) -> str:
    """Return a figure of a photograph or a print, with what was found in it."""
    if isinstance(picture.image, FingerprintImage):
        return _print(picture, picture.image)
    return _photograph(picture, picture.image)


def _print(picture: Picture, image: FingerprintImage) -> str:
    # Whoever sees one in a page must not take it for a person's.
    shown = _data_uri(np.repeat(stamped(image.pixels)[:, :, None], 3, axis=2))
    figure = (
        f'<figure><div class="shot"><img alt="{escape(picture.caption)}" src="{shown}"></div>'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )
    if picture.drawn:
        pixels = cv2.imdecode(np.frombuffer(picture.drawn, dtype=np.uint8), cv2.IMREAD_COLOR_RGB)
        source = _data_uri(np.asarray(pixels, dtype=np.uint8))
        figure += (
            f'<figure class="match"><div class="shot"><img alt="pairs of minutiae" src="{source}"></div>'
            "<figcaption>minutiae of both prints (circles: ridge endings, squares: bifurcations) and the pairs found"
            "</figcaption></figure>"
        )
    return figure


def _photograph(picture: Picture, image: FaceImage) -> str:
    # With box and landmarks, and the aligned crop in its corner.
    face = picture.report.face if picture.report else None
    found = crop = ""
    if face:
        found = _overlay(face, image.width_px, image.height_px)
        source = _data_uri(align(image.pixels, face.landmarks))
        crop = f'<img class="crop" alt="aligned crop" title="what the network sees" src="{source}">'
    return (
        '<figure><div class="shot">'
        f'<img alt="{escape(picture.caption)}" src="{_data_uri(_bounded(image.pixels))}">{found}{crop}</div>'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def components(quality: Quality) -> str:
    """Return a bar for each component, 0 to 100, with the least acceptable value marked."""
    return '<div class="components">' + "".join(map(_component, quality.components)) + "</div>"


def _component(component: QualityComponent) -> str:
    failed = "" if component.acceptable else " failed"
    return (
        f'<div class="component{failed}" title="{escape(wording.measurement(component))}">'
        f"<span>{escape(wording.component_name(component))}</span>"
        f'<div class="bar"><i style="width:{component.value:.0f}%"></i>'
        f'<b style="left:{component.threshold:.0f}%"></b></div><span class="number">{component.value:.0f}</span></div>'
    )


def scale(threshold: float, end: float, score: float | None = None, kind: str = "") -> str:
    """Return the scale of scores.

    Parameters
    ----------
    threshold : float
        Marked by a line.
    end : float
        Where it ends: at the calibration's limit.
    score : float, optional
        Marked by a triangle.
    kind : str
        CSS class of the triangle: good, stop or wait.
    """
    cap = max(end, threshold, score or 0.0)

    def at(value: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * min(value, cap) / cap, 1)

    ticks = "".join(
        f'<line class="tick" x1="{at(s)}" x2="{at(s)}" y1="{_AXIS_Y - 4}" y2="{_AXIS_Y + 4}"/>'
        f'<text class="{"edge" if s == 0 else "mid"}" x="{at(s)}" y="{_AXIS_Y + 18}">{s}</text>'
        f'<text class="{"edge" if s == 0 else "mid"} soft" x="{at(s)}" y="{_AXIS_Y + 31}">'
        f"{'anybody' if s == 0 else wording.one_in(10 ** (-s / 10))}</text>"
        for s in range(0, int(cap) + 1, 10)
    )
    marker = ""
    if score is not None:
        x = at(score)
        anchor = "end" if x > _RIGHT - 40 else "start" if x < _LEFT + 40 else "middle"
        marker = (
            f'<path class="{kind}" d="M{x} {_AXIS_Y - 6} l-7 -12 h14 z"/>'
            f'<text class="value {kind}" text-anchor="{anchor}" x="{x}" y="{_AXIS_Y - 24}">'
            f"score {wording.rounded(score)}</text>"
        )
    return (
        f'<svg class="scale" viewBox="0 0 {_WIDTH} 82" role="img" aria-label="scale of scores">'
        f'<rect class="below" x="{_LEFT}" y="{_AXIS_Y - 3}" width="{at(threshold) - _LEFT}" height="6"/>'
        f'<rect class="above" x="{at(threshold)}" y="{_AXIS_Y - 3}" width="{_RIGHT - at(threshold):.1f}" height="6"/>'
        f'{ticks}<line class="threshold" x1="{at(threshold)}" x2="{at(threshold)}" y1="{_AXIS_Y - 20}"'
        f' y2="{_AXIS_Y + 8}"/>{marker}</svg>'
    )


def advice(reasons: tuple[Reason, ...]) -> str:
    """Return what to do, in English and Indonesian."""
    if not reasons:
        return ""
    rows = "".join(
        f'<li><span lang="en">{escape(reason.text("en"))}</span><span lang="id">{escape(reason.text("id"))}</span></li>'
        for reason in reasons
    )
    return f'<ul class="advice">{rows}</ul>'


def _overlay(face: Face, width: int, height: int) -> str:
    # Drawn over the photograph, in the pixels of the original.
    box, unit = face.box, max(width, height) / 200
    points = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{1.9 * unit:.2f}"/>' for x, y in face.landmarks)
    return (
        f'<svg class="found" viewBox="0 0 {width} {height}" stroke-width="{0.7 * unit:.2f}">'
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'
        f' stroke-width="{1.2 * unit:.2f}"/>{points}</svg>'
    )


def _bounded(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    factor = _MAX_SIDE_PX / max(height, width)
    if factor >= 1:
        return pixels
    size = round(width * factor), round(height * factor)
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _data_uri(pixels: NDArray[np.uint8]) -> str:
    return f"data:image/jpeg;base64,{b64encode(jpeg(pixels)).decode()}"
