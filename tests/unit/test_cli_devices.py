"""The commands about devices, with virtual ones: what is listed, captured, proven and refused."""

import json
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from biometrik.cli import app, files
from biometrik.cli.screens import devices as screen
from biometrik.errors import InvalidInputError
from biometrik.fingers import FingerPosition
from biometrik_hardware.events import DeviceInfo, DeviceKind
from biometrik_hardware.outcomes import RetryReason
from biometrik_hardware.virtual_bus import BUS, Fault, Trouble, VirtualScannerSetup
from biometrik_hardware.virtual_rig import VirtualCameraRig, VirtualScannerRig, plain_frame, plain_print


def run(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["devices", *map(str, words)], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result.output


def answer(*words: object, code: int = 0) -> dict[str, Any]:
    (line,) = [line for line in run(*words, "--json", code=code).splitlines() if line.startswith("{")]
    found: dict[str, Any] = json.loads(line)
    return found


@pytest.fixture
def scanner() -> Iterator[VirtualScannerRig]:
    """A scanner with a finger on it, ``virtual:cli scanner``."""
    with VirtualScannerRig("cli scanner", plain_print) as rig:
        yield rig


@pytest.fixture
def camera() -> Iterator[VirtualCameraRig]:
    """A camera, ``virtual:cli camera``."""
    with VirtualCameraRig("cli camera", plain_frame) as rig:
        yield rig


def test_the_list_names_what_is_plugged_in_and_every_driver(
    scanner: VirtualScannerRig, camera: VirtualCameraRig
) -> None:
    found = answer("list")
    assert {d["id"] for d in found["devices"]} >= {"virtual:cli scanner", "virtual:cli camera"}
    assert {d["name"] for d in found["drivers"]} >= {"zfm", "sbi", "libfprint", "folder", "virtual", "opencv"}
    assert "virtual:cli camera" in run()


def test_a_driver_that_lacks_a_package_is_listed_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "biometrik_hardware.fingerprint.drivers.zfm", raising=False)
    monkeypatch.setitem(sys.modules, "pyfingerprint.pyfingerprint", None)
    (zfm,) = [driver for driver in answer("list")["drivers"] if driver["name"] == "zfm"]
    assert not zfm["ready"]
    assert "pip install 'biometrik[zfm]'" in zfm["needs"]
    assert "pip install 'biometrik[zfm]'" in run("list")
    assert answer("info", "zfm:/dev/null", code=4)["error"]["reason"] == "PLUGIN_NOT_FOUND"


def test_info_opens_the_device_and_says_what_it_delivers(scanner: VirtualScannerRig, camera: VirtualCameraRig) -> None:
    found = answer("info", "virtual:cli camera", "--kind", "camera")
    assert found["mode"] == {"width_px": 128, "height_px": 72, "fps": 60.0}
    assert answer("info", "virtual:cli scanner", "--kind", "scanner")["device"]["ppi"] == 500.0
    assert "128 × 72 px" in run("info", "virtual:cli camera", "--kind", "camera")


def test_a_print_is_written_whole_with_its_resolution_for_its_owner(scanner: VirtualScannerRig, tmp_path: Path) -> None:
    file = tmp_path / "thumb.png"
    words = ("capture", "virtual:cli scanner", "--kind", "scanner", "--position", "right_thumb", "--output", file)
    found = answer(*words)
    assert (found["retry"], found["ppi"], found["file"]) == (None, 500.0, str(file))
    with Image.open(file) as image:
        np.testing.assert_array_equal(np.asarray(image), plain_print(FingerPosition.RIGHT_THUMB).pixels)
        assert image.info["dpi"] == pytest.approx((500, 500), abs=0.5)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
    assert "Place the finger" in run(*words, "--force")


def test_a_picture_is_written(camera: VirtualCameraRig, tmp_path: Path) -> None:
    file = tmp_path / "face.png"
    assert answer("capture", "virtual:cli camera", "--kind", "camera", "--output", file)["ppi"] is None
    with Image.open(file) as image:
        assert image.mode == "RGB"
        assert np.asarray(image)[:, :, 1:].tolist() == plain_frame(0)[:, :, 1:].tolist()


def test_another_try_is_an_answer_in_the_language_asked_for(tmp_path: Path) -> None:
    setup = VirtualScannerSetup(plain_print, [Fault(Trouble.RETRY, reason=RetryReason.KEEP_STILL)] * 2, 0.01, 0.01)
    words = ("capture", "virtual:a", "--kind", "scanner", "--output", tmp_path / "a.png", "--locale", "id")
    with BUS.plugged("a", setup):
        assert answer(*words, code=3)["retry"] == {"code": "KEEP_STILL", "text": RetryReason.KEEP_STILL.text("id")}
        assert RetryReason.KEEP_STILL.text("id") in run(*words, code=3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("virtual:cli scanner",), 2, "--kind"),
        (("virtual:cli scanner", "--kind", "scanner", "--position", "toe"), 2, "right_thumb"),
        (("virtual:cli scanner", "--kind", "scanner", "--baud", "9600"), 2, "--baud"),
        (("nothing:x",), 4, "libfprint"),
        (("opencv:/none",), 4, "nothing of that name"),
        (("opencv",), 4, "driver:path"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    scanner: VirtualScannerRig, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    assert said in run("capture", *words, "--output", tmp_path / "a.png", code=code)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "said"), [("a.jpg", ".png"), ("none/a.png", "make it"), ("there.png", "--force")])
def test_a_file_that_could_not_be_written_is_refused_before_anybody_is_asked(
    tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "there.png").write_bytes(b"precious")
    assert said in run("capture", "virtual:none", "--kind", "scanner", "--output", tmp_path / name, code=4)
    assert (tmp_path / "there.png").read_bytes() == b"precious"


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "a.png"
    file.write_bytes(b"before")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InvalidInputError, match="No space left"):
        files.write(file, b"after", force=True)
    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]


def test_a_password_in_an_address_is_not_shown() -> None:
    info = DeviceInfo("opencv", "rtsp://ann:secret@host:554/a@b", DeviceKind.CAMERA)
    assert info.id == "opencv:rtsp://***@host:554/a@b"
    assert DeviceInfo("opencv", "rtsp://host/a@b", DeviceKind.CAMERA).id == "opencv:rtsp://host/a@b"
    assert "secret" not in run("info", "opencv:file://ann:secret@/none", "--timeout", "2", code=4)


@pytest.mark.parametrize("kind", ["scanner", "camera"])
def test_the_suite_runs_without_hardware(kind: str) -> None:
    found = answer("conform", "virtual", "--kind", kind)
    assert found["passed"]
    assert [check["name"] for check in found["checks"] if check["detail"] == "left out"] == [
        "counts_its_frames" if kind == "scanner" else "stamps_the_position"
    ]


def test_without_a_terminal_a_device_is_refused_before_the_checks(scanner: VirtualScannerRig) -> None:
    error = answer("conform", "virtual:cli scanner", "--kind", "scanner", code=2)["error"]
    assert error["reason"] == "USAGE"
    assert "needs a person at a terminal" in error["message"]
    assert "run this in a terminal" in error["message"]


def test_a_person_is_the_rig_of_a_device(scanner: VirtualScannerRig, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def prompt(text: str, **_: object) -> str:
        asked.append(text)
        if text.startswith("Place"):
            scanner.present()
        elif text.startswith("Take"):
            scanner.absent()
        else:
            scanner.replug()
        return ""

    def confirm(text: str, **_: object) -> bool:
        return scanner.unplug()

    monkeypatch.setattr(screen, "attended", lambda: True)
    monkeypatch.setattr(typer, "prompt", prompt)
    monkeypatch.setattr(typer, "confirm", confirm)
    found = answer("conform", "virtual:cli scanner", "--kind", "scanner", "--timeout", "2")
    assert found["passed"], found
    assert [check["name"] for check in found["checks"] if check["detail"]] == ["counts_its_frames"]
    assert {text.split()[0] for text in asked} == {"Place", "Take", "Plug"}


def test_what_a_person_cannot_do_is_left_out_and_said(
    camera: VirtualCameraRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "attended", lambda: True)
    monkeypatch.setattr(typer, "prompt", lambda *_, **__: "")
    words = ("conform", "virtual:cli camera", "--kind", "camera", "--timeout", "2")
    left_out = {check["name"] for check in answer(*words)["checks"] if check["detail"] == "left out"}
    assert left_out == {
        "stamps_the_position",
        "times_out",
        "can_be_cancelled",
        "can_be_closed_meanwhile",
        "does_one_thing_at_a_time",
        "survives_unplugging",
    }
    assert "10 passed, 0 failed, 6 left out" in run(*words)
