"""DeviceService: devices, leases, guided capture."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import cv2
import numpy as np
from google.protobuf.duration_pb2 import Duration
from numpy.typing import NDArray

from biometrik import wire
from biometrik.errors import InvalidInputError
from biometrik.fingers import FingerprintImage
from biometrik.imaging import encode_png, format_of
from biometrik.reasons import Locale
from biometrik.v1 import device_service_pb2 as pb
from biometrik.v1 import device_service_pb2_grpc, sample_pb2
from biometrik_hardware.camera.camera import Camera
from biometrik_hardware.events import DeviceEvent, DeviceKind
from biometrik_hardware.fingerprint.scanner import FingerprintScanner
from biometrik_hardware.leases import Lease, TakeoverRight
from biometrik_hardware.virtual_bus import Fault, Trouble
from biometrik_server.calls import CURRENT
from biometrik_station.guiding import Guide, Moment, Taking
from biometrik_station.rack import Listed, Rack

#: Leases: usual and longest, seconds. A counter that died holds a device for a minute at most if it asks for no more.
_TTL_S: Final = 60.0
_MAX_TTL_S: Final = 600.0
#: Attempts: usual, shortest and longest, seconds.
_ATTEMPT_S: Final = 10.0
_ATTEMPTS_S: Final = (1.0, 300.0)
_MAX_PREVIEW_PX: Final = 1280
#: Of a sample's reference to its device (SampleOrigin); longer ids are cut.
_MAX_REF: Final = 128
_MAX_FAULTS: Final = 1000
_MAX_FAULT_S: Final = 60.0
#: JPEG quality of a preview, which is only looked at, and of a face, which is compared and may be printed.
_PREVIEW_QUALITY: Final = 70
_SAMPLE_QUALITY: Final = 95
#: Events that a watcher who does not read may be behind before the oldest are dropped.
_EVENTS_BEHIND: Final = 256

_TROUBLES: Final = {
    number: Trouble.NOTHING if number == pb.TROUBLE_UNSPECIFIED else Trouble[name.removeprefix("TROUBLE_")]
    for name, number in pb.Trouble.items()
}
_FORMATS: Final = {
    "JPEG": sample_pb2.SAMPLE_FORMAT_JPEG,
    "PNG": sample_pb2.SAMPLE_FORMAT_PNG,
    "JPEG2000": sample_pb2.SAMPLE_FORMAT_JP2,
}
_KINDS: Final = wire.EnumMap(DeviceKind, pb.DeviceKind, "DEVICE_KIND_")

_Context = Any  # grpc.aio.ServicerContext of whatever request and response


class DeviceService(device_service_pb2_grpc.DeviceServiceServicer):
    """See ``proto/biometrik/v1/device_service.proto``.

    Parameters
    ----------
    rack : Rack
        The devices.
    guide : Guide
        Runs attempts.
    """

    def __init__(self, rack: Rack, guide: Guide) -> None:
        self._rack = rack
        self._guide = guide
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End the streams that only watch."""
        self._stopping.set()

    async def ListDevices(self, request: pb.ListDevicesRequest, context: _Context) -> pb.ListDevicesResponse:
        listed = await self._guide.call(self._rack.listed)
        return pb.ListDevicesResponse(devices=[_device(row) for row in listed])

    async def WatchDevices(
        self, request: pb.WatchDevicesRequest, context: _Context
    ) -> AsyncIterator[pb.WatchDevicesResponse]:
        loop, events = asyncio.get_running_loop(), asyncio.Queue[pb.WatchDevicesResponse]()

        def take(message: pb.WatchDevicesResponse) -> None:
            if events.qsize() >= _EVENTS_BEHIND:
                events.get_nowait()
            events.put_nowait(message)

        end = self._rack.subscribe(lambda device_id, event: _soon(loop, partial(take, _event(device_id, event))))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            while not stopping.done():
                getting = asyncio.create_task(events.get())
                await asyncio.wait({getting, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not getting.done():
                    getting.cancel()
                    break
                yield getting.result()
        finally:
            end()
            stopping.cancel()

    async def AcquireDevice(self, request: pb.AcquireDeviceRequest, context: _Context) -> pb.AcquireDeviceResponse:
        ttl_s = _seconds(request, "ttl", _TTL_S, 0.0, _MAX_TTL_S)
        holder = request.holder or CURRENT.get().client.name
        lease = await self._guide.call(partial(self._rack.acquire, request.device_id, holder, ttl_s))
        return pb.AcquireDeviceResponse(lease_token=lease.token, expires_at=_expiry(lease))

    async def TakeOverDevice(self, request: pb.TakeOverDeviceRequest, context: _Context) -> pb.TakeOverDeviceResponse:
        ttl_s = _seconds(request, "ttl", _TTL_S, 0.0, _MAX_TTL_S)
        client = CURRENT.get().client.name
        right = TakeoverRight(client, request.reason)
        lease = await self._guide.call(
            partial(self._rack.take_over, request.device_id, request.holder or client, ttl_s, right)
        )
        return pb.TakeOverDeviceResponse(lease_token=lease.token, expires_at=_expiry(lease))

    async def RenewLease(self, request: pb.RenewLeaseRequest, context: _Context) -> pb.RenewLeaseResponse:
        ttl_s = _seconds(request, "ttl", _TTL_S, 0.0, _MAX_TTL_S)
        lease = await self._guide.call(partial(self._rack.renew, request.device_id, request.lease_token, ttl_s))
        return pb.RenewLeaseResponse(expires_at=_expiry(lease))

    async def ReleaseDevice(self, request: pb.ReleaseDeviceRequest, context: _Context) -> pb.ReleaseDeviceResponse:
        await self._guide.call(partial(self._rack.release, request.device_id, request.lease_token))
        return pb.ReleaseDeviceResponse()

    async def Capture(self, request: pb.CaptureRequest, context: _Context) -> AsyncIterator[pb.CaptureResponse]:
        timeout_s = _seconds(request, "attempt", _ATTEMPT_S, *_ATTEMPTS_S)
        position = wire.finger_position(request.position)
        if request.preview_side_px > _MAX_PREVIEW_PX:
            raise InvalidInputError(f"preview_side_px: expected 0..{_MAX_PREVIEW_PX}, got {request.preview_side_px}")
        locale, ref = CURRENT.get().locale, request.device_id[:_MAX_REF]
        with self._rack.use(request.device_id, request.lease_token) as (device, lease):
            match device:
                case Camera() if not position:
                    moments = self._guide.face(device, lease, timeout_s, ref)
                case FingerprintScanner():
                    moments = self._guide.finger(device, lease, position, timeout_s, ref)
                case _:
                    raise InvalidInputError("position: expected none for a camera, which takes faces; got a finger")
            async with aclosing(moments):
                async for moment in moments:
                    yield _response(moment, locale, request.preview_side_px)

    async def ScriptVirtualDevice(
        self, request: pb.ScriptVirtualDeviceRequest, context: _Context
    ) -> pb.ScriptVirtualDeviceResponse:
        if len(request.faults) > _MAX_FAULTS:
            raise InvalidInputError(f"faults: expected at most {_MAX_FAULTS}, got {len(request.faults)}")
        await self._guide.call(partial(self._rack.script, request.device_id, [_fault(row) for row in request.faults]))
        return pb.ScriptVirtualDeviceResponse()


def _device(listed: Listed) -> pb.Device:
    info = listed.info
    return pb.Device(
        device_id=listed.device_id,
        kind=_KINDS.to_wire(info.kind),
        vendor=info.vendor,
        model=info.model,
        serial=info.serial,
        ppi=info.ppi or 0.0,
        positions=[int(position) for position in info.positions],  # type: ignore[misc]  # the contract's numbers
        holder=listed.holder,
    )


def _event(device_id: str, event: DeviceEvent) -> pb.WatchDevicesResponse:
    return pb.WatchDevicesResponse(
        device_id=device_id, event=event.kind.value, detail=event.detail, at=wire.time_to_wire(event.at)
    )


def _soon(loop: asyncio.AbstractEventLoop, act: partial[None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(act)


def _seconds(request: Any, name: str, usual_s: float, least_s: float, most_s: float) -> float:
    if not request.HasField(name):
        return usual_s
    duration: Duration = getattr(request, name)
    seconds = duration.seconds + duration.nanos / 1e9
    if not (least_s <= seconds <= most_s and seconds > 0):
        raise InvalidInputError(f"{name}: expected {least_s:g}..{most_s:g} seconds, more than 0, got {seconds:g}")
    return seconds


def _expiry(lease: Lease) -> Any:
    return wire.time_to_wire(datetime.fromtimestamp(time.time() + lease.expires_at - time.monotonic(), UTC))


def _fault(message: pb.VirtualFault) -> Fault:
    seconds = message.delay.seconds + message.delay.nanos / 1e9
    if not 0 <= seconds <= _MAX_FAULT_S:
        raise InvalidInputError(f"delay: expected 0..{_MAX_FAULT_S:g} seconds, got {seconds:g}")
    if message.trouble not in _TROUBLES:
        raise InvalidInputError(f"trouble: expected one of the contract, got number {message.trouble}")
    return Fault(_TROUBLES[message.trouble], seconds)


def _response(moment: Moment, locale: Locale, preview_side_px: int) -> pb.CaptureResponse:
    response = pb.CaptureResponse()
    if moment.report is not None:
        response.report.CopyFrom(wire.report_to_wire(moment.report, locale))
    if moment.frame is not None and preview_side_px:
        response.preview_jpeg = _jpeg(_small(moment.frame, preview_side_px), _PREVIEW_QUALITY)
    if moment.taken is not None:
        response.state = pb.CAPTURE_STATE_TAKEN
        response.sample.CopyFrom(_sample(moment.taken.sample))
        return response
    hint = moment.hint
    assert hint is not None
    response.state = pb.CAPTURE_STATE_HOLDING if hint.guidance is None else pb.CAPTURE_STATE_GUIDING
    if hint.guidance is not None:
        response.guidance.code = wire.GUIDANCE.to_wire(hint.guidance)
        response.guidance.text = hint.guidance.text(locale)
    response.good_for.FromNanoseconds(round(hint.good_for_s * 1e9))
    return response


def _sample(taken: Taking) -> sample_pb2.Sample:
    message = sample_pb2.Sample(modality=sample_pb2.MODALITY_FACE)
    if isinstance(taken, FingerprintImage):
        wire.write_print(taken, message)
        message.data = taken.encoded or encode_png(taken.pixels)
    else:
        wire.origin_to_wire(taken.origin, message)
        message.data = taken.encoded or _jpeg(taken.pixels, _SAMPLE_QUALITY)
    message.format = _FORMATS[format_of(message.data)]
    message.source = sample_pb2.SAMPLE_SOURCE_SUPERVISED
    return message


def _small(pixels: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    scale = side_px / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded.tobytes()
