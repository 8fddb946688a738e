"""The public surface, and that importing it costs nothing."""

import subprocess
import sys

import pytest

import biometrik

NAMES = {
    "BiometrikError",
    "Candidate",
    "Decision",
    "DedupeAction",
    "DedupePolicy",
    "Engine",
    "EngineConfig",
    "Enrollment",
    "EncounterStatus",
    "EnrollmentOutcome",
    "ErasureCertificate",
    "FaceImage",
    "FaceParameters",
    "FacePolicy",
    "FingerParameters",
    "FingerPosition",
    "FingerprintImage",
    "GalleryKind",
    "GalleryParameters",
    "Identification",
    "Impression",
    "MissingReason",
    "MissingSample",
    "Modality",
    "ModelParameters",
    "Outcome",
    "Purpose",
    "Quality",
    "Reason",
    "RequestContext",
    "RuntimeParameters",
    "SampleOrigin",
    "Template",
    "__version__",
    "read_print",
}


def test_public_names_are_pinned_and_all_load() -> None:
    assert set(biometrik.__all__) == NAMES
    assert all(getattr(biometrik, name) is not None for name in NAMES)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        biometrik.Nonsense  # noqa: B018


def test_import_loads_no_heavy_module() -> None:
    code = "import sys, biometrik; print(*(m for m in sys.modules if '.' not in m))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"numpy", "cv2", "PIL", "onnx", "onnxruntime", "openvino", "faiss", "sqlite3", "typer", "rich", "asyncio"}
    assert "biometrik" in loaded
    assert heavy.isdisjoint(loaded)


def test_import_makes_no_folder(tmp_path: object) -> None:
    code = "import biometrik, biometrik.engine"
    subprocess.run([sys.executable, "-c", code], cwd=str(tmp_path), check=True, env={"HOME": str(tmp_path)})
    assert list(__import__("pathlib").Path(str(tmp_path)).iterdir()) == []
