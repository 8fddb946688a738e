"""The devices of a station: named and found, one holder, nothing left open."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from biometrik.errors import InvalidInputError
from biometrik.imaging import encode_png
from biometrik_hardware.camera.camera import Camera
from biometrik_hardware.device import Device
from biometrik_hardware.errors import DeviceBusyError, DeviceNotFoundError, LeaseLostError
from biometrik_hardware.events import DeviceEvent, DeviceState, EventKind
from biometrik_hardware.leases import TakeoverRight
from biometrik_hardware.virtual_bus import BUS, Fault, Trouble
from biometrik_station.config import DeviceEntry, StationConfig, parse_device_id
from biometrik_station.rack import Rack

CAMERA = "camera:virtual:rack-test"


def _state(device: Device) -> DeviceState:
    return device.state


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Rack]:
    (tmp_path / "frame.png").write_bytes(encode_png(np.full((48, 64, 3), 90, dtype=np.uint8)))
    with Rack([DeviceEntry(id=CAMERA, shows=tmp_path)], discover=False) as rack:
        yield rack


def test_a_named_device_is_listed_until_it_is_unplugged(rack: Rack) -> None:
    (row,) = rack.listed()
    assert (row.device_id, row.info.driver, row.holder) == (CAMERA, "virtual", "")


def test_one_has_it_the_next_is_told_who_and_a_release_closes_it(rack: Rack) -> None:
    lease = rack.acquire(CAMERA, "counter 3", 60.0)
    assert rack.listed()[0].holder == "counter 3"
    with pytest.raises(DeviceBusyError, match="'counter 3'"):
        rack.acquire(CAMERA, "counter 4", 60.0)
    with rack.use(CAMERA, lease.token) as (device, current):
        assert _state(device) is DeviceState.READY
        assert current() == lease
    rack.release(CAMERA, "not the token")
    assert _state(device) is DeviceState.READY
    rack.release(CAMERA, lease.token)
    assert _state(device) is DeviceState.CLOSED
    rack.release(CAMERA, lease.token)
    assert rack.acquire(CAMERA, "counter 4", 60.0).holder == "counter 4"


def test_one_attempt_at_a_time_and_only_with_the_token(rack: Rack) -> None:
    lease = rack.acquire(CAMERA, "a", 60.0)
    with rack.use(CAMERA, lease.token), pytest.raises(DeviceBusyError), rack.use(CAMERA, lease.token):
        pass
    with rack.use(CAMERA, lease.token):
        pass
    with pytest.raises(LeaseLostError), rack.use(CAMERA, "ä"):
        pass


def test_who_takes_a_device_over_has_it_although_an_attempt_hangs_and_everybody_is_told(rack: Rack) -> None:
    told: list[DeviceEvent] = []
    rack.subscribe(lambda _, event: told.append(event))
    lease = rack.acquire(CAMERA, "counter 3", 60.0)
    right = TakeoverRight("supervisor", "counter 3 hangs")
    with rack.use(CAMERA, lease.token) as (device, current):
        taken = rack.take_over(CAMERA, "counter 4", 60.0, right)
        with pytest.raises(LeaseLostError):
            current()
        with rack.use(CAMERA, taken.token) as (same, _):
            assert isinstance(same, Camera)
            assert same is device
            same.read(timeout_s=5.0, lease=taken)
    with pytest.raises(DeviceBusyError), rack.use(CAMERA, taken.token), rack.use(CAMERA, taken.token):
        pass
    with pytest.raises(LeaseLostError):
        rack.renew(CAMERA, lease.token, 60.0)
    assert rack.listed()[0].holder == "counter 4"
    (over,) = [event for event in told if event.kind is EventKind.LEASE_TAKEN_OVER]
    assert over.detail == "'counter 3' -> 'counter 4' by 'supervisor': counter 3 hangs"


def test_a_device_that_nobody_has_can_be_taken_over_and_one_that_is_not_there_cannot(rack: Rack) -> None:
    right = TakeoverRight("supervisor", "to be sure")
    assert rack.take_over(CAMERA, "counter 4", 60.0, right).holder == "counter 4"
    with pytest.raises(DeviceNotFoundError):
        rack.take_over("camera:virtual:nowhere", "counter 5", 60.0, right)


def test_a_lease_that_was_renewed_is_the_one_that_is_used(rack: Rack) -> None:
    lease = rack.acquire(CAMERA, "a", 1.0)
    with rack.use(CAMERA, lease.token) as (_, current):
        renewed = rack.renew(CAMERA, lease.token, 500.0)
        assert current() == renewed
        assert renewed.expires_at > lease.expires_at


def test_a_device_whose_lease_ran_out_is_closed(rack: Rack) -> None:
    lease = rack.acquire(CAMERA, "a", 0.05)
    with rack.use(CAMERA, lease.token) as (device, _):
        pass
    time.sleep(0.06)
    rack.close_idle()
    assert device.state is DeviceState.CLOSED


def test_what_happens_is_told_by_the_stations_own_name(rack: Rack) -> None:
    told: list[tuple[str, DeviceEvent]] = []
    end = rack.subscribe(lambda device_id, event: told.append((device_id, event)))
    lease = rack.acquire(CAMERA, "a", 60.0)
    end()
    rack.release(CAMERA, lease.token)
    assert [(device_id, event.kind) for device_id, event in told] == [
        (CAMERA, EventKind.LEASE_GRANTED),
        (CAMERA, EventKind.OPENED),
    ]
    assert told[0][1].device_id == CAMERA


@pytest.mark.parametrize("device_id", ["camera:virtual:nobody", "scanner:virtual:rack-test"])
def test_only_listed_devices_are_opened(rack: Rack, device_id: str) -> None:
    with pytest.raises(DeviceNotFoundError):
        rack.acquire(device_id, "a", 60.0)


@pytest.mark.parametrize("device_id", ["", "camera", "camera:", "camera:x", "camera:x:", "lamp:x:y", "camera:x:\n"])
def test_an_id_names_kind_driver_and_path(device_id: str) -> None:
    with pytest.raises(InvalidInputError, match="camera:driver:path"):
        parse_device_id(device_id)


def test_a_script_plugs_the_cable_in_and_is_for_virtual_devices(rack: Rack) -> None:
    BUS.unplug("rack-test")
    rack.script(CAMERA, [Fault(Trouble.NOTHING), Fault(Trouble.UNPLUG)])
    lease = rack.acquire(CAMERA, "a", 60.0)
    with rack.use(CAMERA, lease.token) as (device, _):
        assert isinstance(device, Camera)
        assert device.read(timeout_s=5.0, lease=lease).index == 0
    with pytest.raises(InvalidInputError, match="virtual"):
        rack.script("camera:folder:/srv", [])
    with pytest.raises(DeviceNotFoundError):
        rack.script("camera:virtual:nobody", [])


def test_at_the_end_everything_is_closed_and_unplugged(tmp_path: Path) -> None:
    (tmp_path / "frame.png").write_bytes(encode_png(np.full((48, 64, 3), 90, dtype=np.uint8)))
    with Rack([DeviceEntry(id="camera:virtual:end", shows=tmp_path)], discover=False) as rack:
        lease = rack.acquire("camera:virtual:end", "a", 60.0)
        with rack.use("camera:virtual:end", lease.token) as (device, _):
            pass
    assert device.state is DeviceState.CLOSED
    assert "end" not in BUS.names(device.info.kind)


@pytest.mark.parametrize(
    "toml",
    [
        '[[devices]]\nid = "camera:virtual:a"\n',
        '[[devices]]\nid = "camera:folder:/a"\nshows = "/a"\n',
        '[[devices]]\nid = "lamp:folder:/a"\n',
        '[[devices]]\nid = "camera:folder:/a"\n[[devices]]\nid = "camera:folder:/a"\n',
        'listen = "192.0.2.1:50052"\n',
        'database = "office.db"\n',
    ],
)
def test_a_wrong_setting_starts_nothing(tmp_path: Path, toml: str) -> None:
    file = tmp_path / "station.toml"
    file.write_text(toml, "utf-8")
    with pytest.raises(InvalidInputError):
        StationConfig.load(file)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(InvalidInputError, match="camera:virtual:a: expected a folder"),
        Rack([DeviceEntry(id="camera:virtual:a", shows=tmp_path / "nothing")], discover=False),
    ):
        pass


def test_a_station_asks_for_portraits_also_where_other_models_are_set(tmp_path: Path) -> None:
    file = tmp_path / "station.toml"
    file.write_text("[engine]\nthreads = 2\n", "utf-8")
    assert StationConfig.load(file).engine.parameters().face.quality_profile == "portrait"
