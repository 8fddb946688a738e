"""What a conversion lost: found by holding what was read against what the new octets are read as."""

from dataclasses import fields
from typing import Final

import numpy as np

from biometrik.fingers import Minutiae
from biometrik.formats.image_record import ImageView
from biometrik.formats.minutiae_record import MinutiaeRecord, MinutiaeView
from biometrik.records.reading import Record, View, views_of

#: Turns and pixels that two readings of one number may differ by: float32.
_SAME: Final = 1e-3


def losses_of(before: Record, after: Record) -> tuple[str, ...]:
    """Return, in words, what a record says and its successor does not, or less exactly."""
    losses: list[str] = []
    if isinstance(before, MinutiaeRecord) and isinstance(after, MinutiaeRecord) and before.product != after.product:
        losses.append("product identifier")
    for index, (own, new) in enumerate(zip(views_of(before), views_of(after), strict=True), 1):
        if isinstance(own, MinutiaeView) and isinstance(new, MinutiaeView):
            lost = _minutiae_losses(own.minutiae, new.minutiae)
        else:
            lost = []
        lost += [_WORDS[each.name] for each in fields(own) if each.name in _WORDS and _differs(each.name, own, new)]
        losses += [f"view {index}: {what}" for what in lost]
    return tuple(losses)


#: Fields of views that a conversion can lose, in words.
_WORDS: Final = {
    "raster": "size or resolution of the image",
    "position": "finger position",
    "impression": "impression type",
    "number": "view number",
    "qualities": "quality",
    "captured_at": "capture time",
    "device": "capture device",
    "certifications": "certifications",
    "ending_type": "where ridge endings are placed",
    "extension": "ridge counts, cores, deltas or vendor data",
    "ppi": "resolution",
    "scan_ppi": "resolution of the scanner",
    "bit_depth": "bits a pixel",
    "extended": "segmentation, annotation or comments",
}


def _differs(name: str, own: View, new: View) -> bool:
    before, after = getattr(own, name), getattr(new, name)
    if name == "extension":
        counts = [0 if e.ridge_counts is None else len(e.ridge_counts.counts) for e in (before, after)]
        points = [(len(e.singularities), e.opaque) for e in (before, after)]
        return counts[0] != counts[1] or points[0] != points[1]
    if isinstance(own, ImageView) and isinstance(new, ImageView) and name == "scan_ppi":
        # Where it is the image's, formats may or may not repeat it.
        before, after = (None if view.scan_ppi == view.ppi else view.scan_ppi for view in (own, new))
    return bool(before != after)


def _minutiae_losses(own: Minutiae, new: Minutiae) -> list[str]:
    if len(own) != len(new):
        return [f"{len(own) - len(new)} of {len(own)} minutiae"]
    losses = []
    moved = max((float(np.abs(a - b).max(initial=0)) for a, b in ((own.x, new.x), (own.y, new.y))))
    if moved > _SAME:
        losses.append(f"places rounded by up to {moved:.2f} px at 500 ppi")
    turned = np.abs(np.mod(own.direction - new.direction + np.pi, 2 * np.pi) - np.pi).max(initial=0)
    if turned > _SAME:
        losses.append(f"angles rounded by up to {np.degrees(turned):.2f}°")
    if not np.array_equal(own.kind, new.kind):
        losses.append("types of minutiae")
    if not np.array_equal(own.quality, new.quality):
        losses.append("quality of minutiae")
    return losses
