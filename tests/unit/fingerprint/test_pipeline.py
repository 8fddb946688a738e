"""The story of a print, told with a stand-in for the extractor."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from biometrik.config import ExtractionParameters, FingerParameters, RuntimeParameters
from biometrik.errors import IncompatibleTemplateError, InvalidInputError, TemplateFormatError
from biometrik.fingerprint import pipeline as story
from biometrik.fingerprint.extraction import EXTRACTORS, Extractor, Found
from biometrik.fingerprint.pipeline import FingerPipeline, ProcessedPrint, RejectedPrint
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.inference import Runtime
from biometrik.reasons import Reason
from biometrik.types import Modality, Template

Image = NDArray[np.uint8]


class Corners(Extractor):
    """Takes dark pixels for minutiae, the darker the better: values 0..10 mean quality 100..0."""

    weights = "a"

    def _load(self, runtime: Runtime) -> None:
        self.calls: list[tuple[int, ...]] = []

    def contract(self) -> Mapping[str, str]:
        return {"weights": self.weights}

    def _extract(self, pixels: Image) -> Sequence[NDArray[Any]]:
        self.calls.append(pixels.shape)
        rows_of = []
        for image in pixels:
            y, x = np.nonzero(image <= 10)
            rows = np.zeros(len(y), dtype=Found)
            rows["x"], rows["y"], rows["kind"] = x, y, 1
            rows["quality"], rows["direction"] = 100 - 10.0 * image[y, x], -1e-9
            rows_of.append(rows)
        return rows_of


class OneRuntime:
    """What the base class asks of a runtime."""

    def __init__(self, batch_size: int = 1, prefers_batches: bool = False) -> None:
        self.batch_size, self.prefers_batches = batch_size, prefers_batches
        self.parameters = RuntimeParameters()


class Kept:
    """A sink that keeps names and shapes."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, tuple[int, ...]]] = []

    def take(self, stage: str, value: NDArray[Any]) -> None:
        self.stages.append((stage, value.shape))


def _pipeline(
    monkeypatch: pytest.MonkeyPatch, parameters: FingerParameters | None = None, runtime: OneRuntime | None = None
) -> FingerPipeline:
    monkeypatch.setattr(EXTRACTORS, "load", lambda name: Corners)
    return FingerPipeline(parameters or FingerParameters(min_minutiae=1), cast(Runtime, runtime or OneRuntime()))


def _image(*places: tuple[int, int, int], size: tuple[int, int] = (300, 280), **more: Any) -> FingerprintImage:
    pixels = np.full(size, 240, dtype=np.uint8)
    pixels[40:-40, 40:-40] = (130 + 80 * np.cos(np.arange(size[1] - 80))).astype(np.uint8)
    for x, y, value in places:
        pixels[y, x] = value
    return FingerprintImage(pixels, more.pop("ppi", 500.0), **more)


def test_minutiae_are_where_they_are_in_the_whole_print(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = _pipeline(monkeypatch).process([_image((100, 150, 3), (120, 60, 0), position=FingerPosition.LEFT_THUMB)])
    assert isinstance(found, ProcessedPrint)
    assert found.position is FingerPosition.LEFT_THUMB
    np.testing.assert_array_equal(found.minutiae.x, [120, 100])  # best first
    np.testing.assert_array_equal(found.minutiae.y, [60, 150])
    np.testing.assert_array_equal(found.minutiae.quality, [100, 70])
    assert (found.minutiae.direction == 0).all()  # a tiny negative angle is not a whole turn
    assert (found.minutiae.width_px, found.minutiae.height_px) == (280, 300)


def test_minutiae_are_bounded_by_quality_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [(60 + 10 * i, 150, i) for i in range(11)]
    (every,) = _pipeline(monkeypatch).process([_image(*places)])
    assert isinstance(every, ProcessedPrint)
    assert every.minutiae.quality.tolist() == [100, 90, 80, 70, 60, 50, 40, 30]
    few = FingerParameters(extraction=ExtractionParameters(min_quality=55, max_minutiae=3), min_minutiae=1)
    (found,) = _pipeline(monkeypatch, few).process([_image(*places)])
    assert isinstance(found, ProcessedPrint)
    assert found.minutiae.quality.tolist() == [100, 90, 80]


def test_what_lies_beyond_the_print_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    class Outside(Corners):
        def _extract(self, pixels: Image) -> Sequence[NDArray[Any]]:
            rows = np.zeros(2, dtype=Found)
            rows["x"], rows["y"], rows["quality"] = [3, 60], [100, 100], 90
            return [rows]

    pipeline = _pipeline(monkeypatch)
    pipeline.extractor = Outside(ExtractionParameters(), cast(Runtime, OneRuntime()))
    pixels = np.tile((130 + 80 * np.cos(np.arange(300))).astype(np.uint8), (300, 1))  # 10 px of sheet on each side
    (found,) = pipeline.process([FingerprintImage(pixels, 500.0)])
    assert isinstance(found, ProcessedPrint)
    np.testing.assert_array_equal(found.minutiae.x, [50])


def test_every_image_gets_its_own_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    blank = FingerprintImage(np.full((200, 200), 255, dtype=np.uint8), 500.0)
    slap = _image((100, 150, 0), position=FingerPosition.PLAIN_LEFT_FOUR)
    other = _image((90, 90, 1), size=(400, 300))
    pipeline = _pipeline(monkeypatch)
    found = pipeline.process([blank, _image((100, 150, 0)), slap, other, _image()])
    assert found[0] == RejectedPrint(Reason.NO_FINGERPRINT)
    assert found[2] == RejectedPrint(Reason.SLAP_IMAGE)
    assert found[4] == RejectedPrint(Reason.TOO_FEW_MINUTIAE)
    assert isinstance(found[1], ProcessedPrint)
    assert isinstance(found[3], ProcessedPrint)
    assert (found[1].minutiae.x[0], found[3].minutiae.x[0]) == (100, 90)
    assert pipeline.process([]) == []


def test_too_few_is_as_the_parameters_say(monkeypatch: pytest.MonkeyPatch) -> None:
    image = _image(*((60 + 20 * i, 150, 0) for i in range(5)))
    for least, kind in ((5, ProcessedPrint), (6, RejectedPrint)):
        (found,) = _pipeline(monkeypatch, FingerParameters(min_minutiae=least)).process([image])
        assert isinstance(found, kind)
    # A template of no minutiae is none, whatever the parameters say.
    (found,) = _pipeline(monkeypatch, FingerParameters(min_minutiae=0)).process([_image()])
    assert found == RejectedPrint(Reason.TOO_FEW_MINUTIAE)


def test_a_gpu_gets_equal_shapes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [_image((100, 150, 0)), _image((90, 90, 0), size=(400, 300)), _image((110, 150, 0)), _image((80, 150, 0))]
    for runtime, sizes in ((OneRuntime(2, True), [2, 1, 1]), (OneRuntime(16, True), [3, 1]), (OneRuntime(), [1] * 4)):
        pipeline = _pipeline(monkeypatch, runtime=runtime)
        found = pipeline.process(images)
        assert [p.minutiae.x[0] for p in found if isinstance(p, ProcessedPrint)] == [100, 90, 110, 80]
        assert [shape[0] for shape in cast(Corners, pipeline.extractor).calls] == sizes


def test_a_template_holds_the_minutiae(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = _pipeline(monkeypatch)
    (found,) = pipeline.process([_image((100, 150, 3), (120, 60, 0), position=FingerPosition.RIGHT_RING)])
    assert isinstance(found, ProcessedPrint)
    template = Template.from_bytes(pipeline.template(found).to_bytes())
    assert (template.modality, template.position) == (Modality.FINGER, 4)
    assert template.model_contract_id == pipeline.contract_id
    np.testing.assert_array_equal(pipeline.minutiae(template).x, found.minutiae.x)


def test_templates_of_others_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = _pipeline(monkeypatch)
    for modality, contract in ((Modality.FACE, pipeline.contract_id), (Modality.FINGER, "leader@000000000000")):
        with pytest.raises(IncompatibleTemplateError, match="expected finger leader@"):
            pipeline.minutiae(Template(modality, contract, b"12345678"))
    with pytest.raises(TemplateFormatError):
        pipeline.minutiae(Template(Modality.FINGER, pipeline.contract_id, b"12345678"))


def test_the_contract_names_all_that_shapes_the_minutiae(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {_pipeline(monkeypatch).contract_id, _pipeline(monkeypatch, FingerParameters(min_minutiae=9)).contract_id}
    assert len(seen) == 1
    extraction = ExtractionParameters(min_quality=31)
    seen.add(_pipeline(monkeypatch, FingerParameters(extraction=extraction)).contract_id)
    monkeypatch.setattr(Corners, "weights", "b")
    seen.add(_pipeline(monkeypatch).contract_id)
    monkeypatch.setattr(story, "_PIPELINE_VERSION", "next")
    seen.add(_pipeline(monkeypatch).contract_id)
    assert len(seen) == 4


def test_a_sink_sees_the_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    _pipeline(monkeypatch).process([_image((100, 150, 0))], sink=kept)
    assert [name for name, _ in kept.stages] == ["prepared", "foreground"]


def test_warming_up_runs_the_extractor(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = _pipeline(monkeypatch)
    pipeline.warm_up()
    assert cast(Corners, pipeline.extractor).calls == [(1, 256, 256)]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (ExtractionParameters, {"min_quality": 101}),
        (ExtractionParameters, {"min_quality": -1}),
        (ExtractionParameters, {"max_minutiae": 0}),
        (ExtractionParameters, {"max_minutiae": 256}),
        (FingerParameters, {"min_minutiae": -1}),
        (FingerParameters, {"min_minutiae": 256}),
    ],
)
def test_settings_out_of_range_are_refused(kind: type, values: dict[str, int]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(values))):
        kind(**values)
