"""Packs: what a deployer's folder declares, what is known of InsightFace's, and what is fetched."""

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from biometrik import models, packs
from biometrik.config import ModelParameters
from biometrik.errors import (
    InvalidInputError,
    ModelError,
    ModelIntegrityError,
    ModelLicenceError,
    ModelNotFoundError,
)
from biometrik.manifest import Normalisation, Role, WeightsEntry, manifest
from biometrik.models import WeightsState, catalogue, pack, prepare, pull


def net(seed: float) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])],
        [numpy_helper.from_array(np.array(seed, dtype=np.float32), "factor")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def declare(folder: Path, **changes: Any) -> str:
    """Write a pack of one embedder, its declaration changed; a key set to None is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.onnx").write_bytes(net(2))
    values: dict[str, Any] = {
        "role": "face-embedder",
        "file": "net.onnx",
        "sha256": sha256(net(2)),
        "licence": "Apache-2.0",
        "source": "https://example.org/net",
    } | changes
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]
    text = "\n".join(['name = "office"', "[[weights]]", *lines])
    (folder / packs.DECLARATION).write_text(text)
    return text


# A deployer's folder.


def test_a_declared_pack(tmp_path: Path) -> None:
    declare(tmp_path, licence_note="ours", normalise=[1, 2], rewrite=["free-batch"])
    found = pack(ModelParameters(pack=tmp_path))
    entry = found.entry(Role.FACE_EMBEDDER)
    assert (found.name, entry.id, entry.licence, entry.licence_note) == (
        "office",
        "office-net",
        "Apache-2.0",
        "ours",
    )
    assert entry.recipe.normalisation == Normalisation(1, 2)
    assert entry.recipe.free_batch
    weights = prepare(entry, ModelParameters(cache=tmp_path / "cache"))
    assert weights.sha256 == sha256(net(2))
    with pytest.raises(ModelNotFoundError, match="expected weights for the role face-detector, got none"):
        found.entry(Role.FACE_DETECTOR)


@pytest.mark.parametrize(
    ("role", "normalise", "expected"),
    [
        ("face-detector", None, Normalisation(127.5, 128)),
        ("face-embedder", None, Normalisation(127.5, 127.5, unless_embedded=True)),
        ("face-embedder", "auto", Normalisation(127.5, 127.5, unless_embedded=True)),
        ("face-embedder", "none", None),
    ],
)
def test_normalisation_has_a_default_for_each_role(
    tmp_path: Path, role: str, normalise: str | None, expected: Normalisation | None
) -> None:
    declare(tmp_path, role=role, normalise=normalise)
    assert packs.read(tmp_path).entry(Role(role)).recipe.normalisation == expected


@pytest.mark.parametrize("licence", [None, ""])
def test_weights_without_a_licence_are_refused(tmp_path: Path, licence: str | None) -> None:
    declare(tmp_path, licence=licence)
    with pytest.raises(ModelLicenceError, match=r"net\.onnx: expected a licence"):
        packs.read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file": "../net.onnx"}, "relative path inside the folder"),
        ({"file": "/net.onnx"}, "relative path inside the folder"),
        ({"file": None}, "expected a str as file"),
        ({"sha256": None}, "expected a str as sha256"),
        ({"sha256": "abc"}, "64 hexadecimal digits"),
        ({"source": None}, "expected a str as source"),
        ({"role": "eye"}, "expected face-detector, face-embedder or minutiae-extractor as role, got 'eye'"),
        ({"role": None}, "expected face-detector, face-embedder or minutiae-extractor as role"),
        ({"rewrite": ["magic"]}, r"as rewrite, got \['magic'\]"),
        ({"rewrite": "free-batch"}, "expected a list as rewrite"),
        ({"normalise": [1, 0]}, "positive std"),
        ({"normalise": [1]}, "as normalise"),
        ({"strides": []}, "strides and anchors"),
        ({"strides": [0]}, "strides and anchors"),
        ({"anchors": 0}, "strides and anchors"),
        ({"id": "../x"}, "expected a name"),
        ({"bytes": "many"}, "expected a int as bytes"),
    ],
)
def test_a_damaged_declaration_names_the_key(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    declare(tmp_path, **changes)
    with pytest.raises(ModelError, match=message):
        packs.read(tmp_path)


@pytest.mark.parametrize(
    "text", ["name =", "", 'name = "a/b"', 'name = "a"', 'name = "a"\nweights = 3', "\udcff", "x" * (2 << 20)]
)
def test_other_text_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / packs.DECLARATION).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError, match=r"biometrik\.toml"):
        packs.read(tmp_path)


def test_two_files_for_one_role_are_refused(tmp_path: Path) -> None:
    text = declare(tmp_path)
    (tmp_path / packs.DECLARATION).write_text(text + text.replace('name = "office"', ""))
    with pytest.raises(ModelError, match="expected one file a role"):
        packs.read(tmp_path)


def test_a_changed_file_of_a_pack_is_refused(tmp_path: Path) -> None:
    declare(tmp_path)
    (tmp_path / "net.onnx").write_bytes(net(3))
    entry = packs.read(tmp_path).entry(Role.FACE_EMBEDDER)
    with pytest.raises(ModelIntegrityError, match=r"biometrik\.toml"):
        prepare(entry, ModelParameters(cache=tmp_path / "cache"))


def test_no_pack_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"ModelParameters\.pack"):
        pack(ModelParameters())
    with pytest.raises(ModelNotFoundError, match=r"expected a folder, got .*absent"):
        pack(ModelParameters(pack=tmp_path / "absent"))


def test_a_folder_of_unknown_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(net(1))
    with pytest.raises(ModelLicenceError, match=r"expected a biometrik\.toml .*buffalo_l"):
        packs.read(tmp_path)


def known_files(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str) -> dict[str, bytes]:
    """Put small networks in place of a known pack's files, and make the manifest know them."""
    known = next(p for p in manifest().packs if p.name == name)
    content = {entry.id: net(i + 1) for i, entry in enumerate(known.entries)}
    changed = manifest()

    def patched(entry: WeightsEntry) -> WeightsEntry:
        data = content.get(entry.id)
        if data is None:
            return entry
        return replace(entry, sha256=sha256(data), size_bytes=len(data))

    made = replace(
        changed,
        weights=tuple(patched(e) for e in changed.weights),
        packs=tuple(replace(p, entries=tuple(patched(e) for e in p.entries)) for p in changed.packs),
    )
    monkeypatch.setattr(packs, "manifest", lambda: made)
    monkeypatch.setattr(models, "manifest", lambda: made)
    folder.mkdir(parents=True, exist_ok=True)
    files = {entry.file: content[entry.id] for entry in known.entries}
    for file, data in files.items():
        (folder / file).write_bytes(data)
    return files


@pytest.mark.parametrize("name", ["buffalo_l", "buffalo_s", "antelopev2"])
def test_insightface_packs_are_known_by_their_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "any-name"
    known_files(monkeypatch, folder, name)
    found = pack(ModelParameters(pack=folder))
    assert found.name == name
    for entry in found.entries:
        assert entry.licence == "LicenseRef-InsightFace-NonCommercial"
        assert "non-commercial research only" in entry.licence_note
        prepare(entry, ModelParameters(cache=tmp_path / "cache"))


def test_a_known_name_on_another_file_is_refused(tmp_path: Path) -> None:
    # AuraFace's files have antelopev2's names; a third of these names is neither.
    for file in ("scrfd_10g_bnkps.onnx", "glintr100.onnx"):
        (tmp_path / file).write_bytes(net(1))
    with pytest.raises(ModelIntegrityError, match=r"expected the files of antelopev2 or auraface, got others"):
        packs.read(tmp_path)


# InsightFace's own manifests.


@pytest.fixture
def insightface_pack(tmp_path: Path) -> Callable[..., Path]:
    def write(licence: dict[str, Any] | None = None, **task: Any) -> Path:
        (tmp_path / "rec.onnx").write_bytes(net(2))
        (tmp_path / "det.onnx").write_bytes(net(3))
        document = {
            "manifest_version": 2,
            "model_id": "raccoon_s",
            "license": "MODEL.LICENSE",
            "tasks": {
                "detection": {"file": "det.onnx", "sha256": sha256(net(3))},
                "recognition": {"file": "rec.onnx"} | task,
                "verification": {"file": "ver.onnx"},
            },
        }
        (tmp_path / "manifest.json").write_text(json.dumps(document))
        granted = {
            "license_id": "L-1",
            "model_id": "raccoon_s",
            "grant": "non-commercial",
            "valid_from": "2020-01-01T00:00:00Z",
        }
        (tmp_path / "MODEL.LICENSE").write_text(json.dumps(granted | (licence or {})))
        return tmp_path

    return write


def test_a_package_manifest_is_read(insightface_pack: Callable[..., Path]) -> None:
    found = packs.read(insightface_pack(preprocessing={"mean": 10, "std": 20.5}))
    detector, embedder = found.entry(Role.FACE_DETECTOR), found.entry(Role.FACE_EMBEDDER)
    assert (found.name, detector.id, embedder.id) == (
        "raccoon_s",
        "raccoon_s-detection",
        "raccoon_s-recognition",
    )
    assert (detector.sha256, embedder.sha256) == (sha256(net(3)), "")
    assert detector.recipe.normalisation == Normalisation(127.5, 128)
    assert embedder.recipe.normalisation == Normalisation(10, 20.5)
    assert embedder.licence == "LicenseRef-InsightFace-NonCommercial"


def test_embedded_preprocessing_needs_none(insightface_pack: Callable[..., Path]) -> None:
    entry = packs.read(insightface_pack(preprocessing="embedded")).entry(Role.FACE_EMBEDDER)
    assert entry.recipe.normalisation is None


def test_a_commercial_grant_is_recorded(insightface_pack: Callable[..., Path]) -> None:
    entry = packs.read(insightface_pack({"grant": "commercial", "valid_until": "2999-01-01T00:00:00Z"})).entries[0]
    assert entry.licence == "LicenseRef-InsightFace-Commercial"
    assert "L-1" in entry.licence_note


@pytest.mark.parametrize(
    "licence",
    [
        {"grant": "anything"},
        {"model_id": "another"},
        {"valid_until": "2020-06-01T00:00:00Z"},
        {"valid_from": "2999-01-01T00:00:00Z"},
        {"valid_from": "once"},
    ],
)
def test_a_licence_not_in_force_is_refused(insightface_pack: Callable[..., Path], licence: dict[str, Any]) -> None:
    with pytest.raises(ModelLicenceError, match=r"MODEL\.LICENSE"):
        packs.read(insightface_pack(licence))


def test_a_package_without_a_licence_is_refused(insightface_pack: Callable[..., Path]) -> None:
    folder = insightface_pack()
    (folder / "MODEL.LICENSE").unlink()
    with pytest.raises(ModelLicenceError, match=r"expected a MODEL\.LICENSE, got none"):
        packs.read(folder)


@pytest.mark.parametrize("task", [{"file": "../x.onnx"}, {"sha256": "1"}, {"preprocessing": {"mean": 1, "std": 0}}])
def test_a_damaged_package_manifest_is_refused(insightface_pack: Callable[..., Path], task: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"manifest\.json, tasks\.recognition"):
        packs.read(insightface_pack(**task))


@pytest.mark.parametrize("text", ["[]", "{", '{"manifest_version": 1}', '{"manifest_version": 2}'])
def test_another_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ModelError, match=r"manifest\.json"):
        packs.read(tmp_path)


def test_the_catalogue_shows_a_pack(insightface_pack: Callable[..., Path]) -> None:
    rows = {row.entry.id: row for row in catalogue(ModelParameters(pack=insightface_pack()))}
    assert rows["raccoon_s-detection"].state is WeightsState.VERIFIED
    assert rows["raccoon_s-recognition"].state is WeightsState.UNDECLARED
    assert rows["raccoon_s-recognition"].packs == ("raccoon_s",)


# Fetching through the insightface package.


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Path], None]], None]:
    """Stand in for the insightface package; what it is told to do is done in its folder."""

    def install(fill: Callable[[Path], None]) -> None:
        def ensure_available(sub_dir: str, name: str, root: str) -> str:
            sys.stdout.write("download_path: somewhere\n")
            folder = Path(root) / sub_dir / name
            folder.mkdir(parents=True)
            fill(folder)
            return str(folder)

        storage = ModuleType("insightface.utils.storage")
        vars(storage)["ensure_available"] = ensure_available
        for name in ("insightface", "insightface.utils"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.setitem(sys.modules, "insightface.utils.storage", storage)

    return install


@pytest.mark.parametrize("nested", [False, True])
def test_pull_keeps_verifies_and_declares(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    loader: Callable[[Callable[[Path], None]], None],
    capsys: pytest.CaptureFixture[str],
    nested: bool,
) -> None:
    files = known_files(monkeypatch, tmp_path / "unused", "buffalo_s")

    def fill(folder: Path) -> None:
        folder = folder / "buffalo_s" if nested else folder
        folder.mkdir(exist_ok=True)
        for file, data in {**files, "genderage.onnx": b"not ours"}.items():
            (folder / file).write_bytes(data)

    loader(fill)
    target = tmp_path / "packs" / "buffalo_s"
    pulled = pull("buffalo_s", target)

    assert capsys.readouterr() == ("", "")
    assert {path.name for path in target.iterdir()} == {*files, packs.DECLARATION}
    monkeypatch.undo()  # from here the declaration alone must do
    again = pack(ModelParameters(pack=target))
    assert again == pulled
    assert {entry.sha256 for entry in again.entries} == {sha256(data) for data in files.values()}
    assert again.entry(Role.FACE_DETECTOR).recipe.normalisation == Normalisation(127.5, 128)
    assert again.entry(Role.FACE_EMBEDDER).recipe.normalisation == Normalisation(127.5, 127.5, unless_embedded=True)
    for entry in again.entries:
        prepare(entry, ModelParameters(cache=tmp_path / "cache"))
    with pytest.raises(ModelError, match=r"expected a folder without a biometrik\.toml"):
        pull("buffalo_s", target)


def test_pull_refuses_other_files_than_the_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, loader: Callable[[Callable[[Path], None]], None]
) -> None:
    files = known_files(monkeypatch, tmp_path / "unused", "buffalo_s")

    def fill(folder: Path) -> None:
        for file, data in files.items():
            (folder / file).write_bytes(data[:-1] + b"!")

    loader(fill)
    with pytest.raises(ModelIntegrityError, match="as download"):
        pull("buffalo_s", tmp_path / "target")
    assert list((tmp_path / "target").iterdir()) == []


def test_pull_refuses_what_has_no_licence(tmp_path: Path, loader: Callable[[Callable[[Path], None]], None]) -> None:
    def fill(folder: Path) -> None:
        (folder / "net.onnx").write_bytes(net(1))

    loader(fill)
    with pytest.raises(ModelLicenceError):
        pull("wolf", tmp_path / "target")
    assert list((tmp_path / "target").iterdir()) == []


def test_pull_offline_says_so(tmp_path: Path, loader: Callable[[Callable[[Path], None]], None]) -> None:
    def fail(_: Path) -> None:
        raise ConnectionError("no route to host")

    loader(fail)
    with pytest.raises(ModelError, match="expected a download, got ConnectionError: no route to host"):
        pull("buffalo_l", tmp_path / "target")


def test_pull_without_insightface_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "insightface", None)
    with pytest.raises(ModelError, match="expected the package insightface and what it imports"):
        pull("buffalo_l", tmp_path / "target")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-x"])
def test_pull_refuses_other_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match="expected a name such as buffalo_l"):
        pull(name, tmp_path)
