"""The story of a print: prepare → extract → template."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from biometrik.config import FingerParameters
from biometrik.errors import IncompatibleTemplateError
from biometrik.fingerprint import payload
from biometrik.fingerprint.extraction import EXTRACTORS
from biometrik.fingerprint.preparation import CELL_PX, MULTIPLE_PX, PreparedPrint, prepare
from biometrik.fingers import FingerPosition, FingerprintImage, Minutiae
from biometrik.inference import Runtime
from biometrik.reasons import Reason
from biometrik.transparency import NULL_SINK, Sink
from biometrik.types import Modality, Template, sha256_hex

#: Changes when this module, preparation or the payload computes other numbers from the same prints.
_PIPELINE_VERSION: Final = "1"


@dataclass(frozen=True, slots=True, eq=False)
class ProcessedPrint:
    """A print from which a template can be made.

    Parameters
    ----------
    position : FingerPosition
        Which finger, as the image said.
    prepared : PreparedPrint
        What was looked at: what quality is measured on.
    minutiae : Minutiae
        Best first, in pixels of the whole print at 500 ppi.
    """

    position: FingerPosition
    prepared: PreparedPrint
    minutiae: Minutiae


@dataclass(frozen=True, slots=True)
class RejectedPrint:
    """An image from which no template can be made, and why."""

    reason: Reason


class FingerPipeline:
    """Prints to templates; thread-safe.

    Parameters
    ----------
    parameters : FingerParameters
        Which plug-in, and its settings.
    runtime : Runtime
        Opens the networks.

    Raises
    ------
    PluginNotFoundError
        No extractor of that name.
    ModelError
        Weights or provider cannot be used.
    """

    def __init__(self, parameters: FingerParameters, runtime: Runtime) -> None:
        self.parameters = parameters
        self.extractor = EXTRACTORS.load(parameters.extractor)(parameters.extraction, runtime)
        self.contract_id = self._contract_id()

    def process(
        self, images: Sequence[FingerprintImage], *, sink: Sink = NULL_SINK
    ) -> list[ProcessedPrint | RejectedPrint]:
        """Return what was found in each image.

        Parameters
        ----------
        images : sequence of FingerprintImage
            Of any sizes and resolutions.
        sink : Sink
            Takes each stage's result.
        """
        prepared = [prepare(image) for image in images]
        ready = {i: found for i, found in enumerate(prepared) if isinstance(found, PreparedPrint)}
        extracted = dict(zip(ready, self.extractor.extract(list(ready.values())), strict=True))

        results: list[ProcessedPrint | RejectedPrint] = []
        for i, (image, found) in enumerate(zip(images, prepared, strict=True)):
            if not isinstance(found, PreparedPrint):
                results.append(RejectedPrint(found))
                continue
            sink.take("prepared", found.pixels)
            sink.take("foreground", found.foreground)
            if len(extracted[i]) < max(1, self.parameters.min_minutiae):
                results.append(RejectedPrint(Reason.TOO_FEW_MINUTIAE))
            else:
                results.append(ProcessedPrint(image.position, found, extracted[i]))
        return results

    def template(self, print_: ProcessedPrint) -> Template:
        """Pack a print's minutiae, pinned to this pipeline's model contract."""
        return Template(Modality.FINGER, self.contract_id, payload.pack(print_.minutiae), int(print_.position))

    def minutiae(self, template: Template) -> Minutiae:
        """Return the minutiae of a template.

        Raises
        ------
        IncompatibleTemplateError
            It is not a finger's, or of another model contract.
        TemplateFormatError
            Its payload is damaged.
        """
        if (template.modality, template.model_contract_id) != (Modality.FINGER, self.contract_id):
            raise IncompatibleTemplateError(
                f"template: expected finger {self.contract_id}, got {template.modality.value} "
                f"{template.model_contract_id}; enrol again"
            )
        return payload.unpack(template.payload)

    def warm_up(self) -> None:
        """Run the extractor once."""
        self.extractor.extract([_blank()])

    def _contract_id(self) -> str:
        # The execution provider is left out: it changes the last digits, not the meaning (ADR 1).
        extraction = self.parameters.extraction
        terms = {
            "pipeline": _PIPELINE_VERSION,
            "extractor": dict(self.extractor.contract()),
            "extraction": [extraction.min_quality, extraction.max_minutiae],
        }
        digest = sha256_hex(json.dumps(terms, sort_keys=True).encode())
        return f"{self.parameters.extractor}@{digest[:12]}"


def _blank() -> PreparedPrint:
    side = 8 * MULTIPLE_PX
    cells = np.zeros((side // CELL_PX, side // CELL_PX), dtype=np.bool_)
    return PreparedPrint(np.full((side, side), 255, dtype=np.uint8), 0, 0, side, side, cells, False)
