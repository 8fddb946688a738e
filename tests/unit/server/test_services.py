"""Handlers are thin: convert in, call the engine, convert out."""

import ast
import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

import biometrik_server.services
from biometrik.samples import Sample, UnreadableSample, as_it_is
from biometrik.types import Modality, Template
from biometrik.v1 import enrollment_service_pb2, sample_service_pb2
from biometrik_server.access import ANONYMOUS
from biometrik_server.calls import CURRENT, Admission, Call
from biometrik_server.convert import Converter
from biometrik_server.desk import Desk
from biometrik_server.logs import JsonFormatter
from biometrik_server.metrics import Metrics
from biometrik_server.services.enrollment import EnrollmentService
from biometrik_server.services.sample import SampleService
from biometrik_server.sessions import Sessions
from biometrik_server.uploads import Uploads

FILES = sorted(Path(next(iter(biometrik_server.services.__path__))).glob("*.py"))
#: What is compared by size in a handler counts something of the protocol, and has a name that says what.
_COUNTS = ("len", "page_size", "_searches_per_stream")


def _faults(source: str) -> list[str]:
    faults = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names) if any(alias.name.split(".")[0] == "numpy" for alias in names):
                faults.append("numpy")
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] == "numpy":
                faults.append("numpy")
            case ast.ExceptHandler(type=None):
                faults.append("bare except")
            case ast.Compare(ops=ops) if any(isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for op in ops):
                if not any(name in ast.unparse(node) for name in _COUNTS):
                    faults.append(f"compares by size: {ast.unparse(node)}")
            case ast.Attribute(attr="score" | "raw_score" | "threshold") if isinstance(node.ctx, ast.Store):
                faults.append(f"writes {node.attr}")
    return faults


def test_there_is_a_file_a_service() -> None:
    names = {path.stem for path in FILES} - {"__init__"}
    assert names == {"admin", "enrollment", "gallery", "identification", "sample", "subject", "verification"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_handlers_neither_compute_nor_judge_nor_swallow(path: Path) -> None:
    assert _faults(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np",
        "from numpy.typing import NDArray",
        "x = decision.score >= decision.threshold",
        "x = 30 < found.score",
        "try:\n    f()\nexcept:\n    pass",
        "decision.score = 40.0",
    ],
)
def test_the_rule_sees_what_it_forbids(source: str) -> None:
    assert _faults(source)


class InTheMiddle:
    """Stands for a desk and a converter: what it prepares was somewhere in the middle of a shared model run."""

    samples: Sequence[Sample] = (UnreadableSample("x"), Template(Modality.FACE, "demo@1", b"1234"))

    def presented(self, _messages: object) -> list[Sample]:
        return list(self.samples)

    async def answer(self, read: Callable[[], object], use: Callable[[Any], Any]) -> Any:
        return [as_it_is(cast(Any, sample)).at(place) for place, sample in enumerate(self.samples, start=7)]


def test_samples_are_counted_from_the_start_of_the_call_wherever_they_were_in_a_model_run() -> None:
    stand_in = InTheMiddle()
    service = SampleService(cast(Desk, stand_in), cast(Converter, stand_in), cast(Uploads, None))

    async def work() -> sample_service_pb2.ExtractTemplatesResponse:
        CURRENT.set(Call("/biometrik.v1.SampleService/ExtractTemplates", ANONYMOUS, "en"))
        return await service.ExtractTemplates(sample_service_pb2.ExtractTemplatesRequest(), cast(Any, None))

    rows = asyncio.run(work()).extractions
    assert [row.report.index for row in rows] == [0, 1]
    assert [row.HasField("template") for row in rows] == [False, True]


class Broken:
    """Stands for a desk whose software has a fault, which tells a secret."""

    @property
    def engine(self) -> "Broken":
        return self

    def enroll(self, subject_id: str, samples: Sequence[Sample]) -> None:
        """Is not reached."""

    async def answer(self, read: Callable[[], object], use: Callable[[Any], Any]) -> Any:
        raise ZeroDivisionError("the vector of Aminah")


def test_a_fault_in_one_record_of_an_import_is_answered_and_logged_with_its_place_and_no_data(
    caplog: pytest.LogCaptureFixture,
) -> None:
    admission = Admission(4, Metrics())
    service = EnrollmentService(
        cast(Desk, Broken()), cast(Converter, None), cast(Sessions, None), admission, records_per_stream=2
    )

    async def sent() -> AsyncIterator[enrollment_service_pb2.ImportEncountersRequest]:
        request = enrollment_service_pb2.EnrollRequest(subject_id="Aminah")
        request.context.transaction_id = "t-1"
        yield enrollment_service_pb2.ImportEncountersRequest(tag="1", request=request)

    async def work() -> list[enrollment_service_pb2.ImportEncountersResponse]:
        CURRENT.set(Call("/biometrik.v1.EnrollmentService/ImportEncounters", ANONYMOUS, "en"))
        return [answer async for answer in service.ImportEncounters(sent(), cast(Any, None))]

    (answer,) = asyncio.run(work())
    assert (answer.tag, answer.error.reason) == ("1", "INTERNAL")
    (record,) = caplog.records
    line = JsonFormatter().format(record)
    said = json.loads(line)
    assert (said["level"], said["event"], said["exception"]) == ("ERROR", "unexpected error", "ZeroDivisionError")
    assert said["rpc"] == "/biometrik.v1.EnrollmentService/ImportEncounters"
    assert said["at"][-1].endswith(" answer")
    assert "Aminah" not in line + str(answer)
