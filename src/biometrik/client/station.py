"""A station from Python: its devices, and guided capture with them."""

from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from biometrik import wire
from biometrik.client.calls import CallBuilder, Operation
from biometrik.client.channels import AsyncChannel, Channel
from biometrik.client.connection import Connection
from biometrik.errors import ProtocolError
from biometrik.fingers import FingerPosition
from biometrik.guidance import Guidance
from biometrik.reasons import Locale
from biometrik.samples import Sample, decoded, decoded_print
from biometrik.types import SampleReport
from biometrik.v1 import context_pb2, sample_pb2
from biometrik.v1 import device_service_pb2 as pb
from biometrik_hardware.events import DeviceEvent, DeviceKind, EventKind
from biometrik_hardware.virtual_bus import Fault, Trouble

_SERVICE: Final = "/biometrik.v1.DeviceService"
_KINDS: Final = wire.EnumMap(DeviceKind, pb.DeviceKind, "DEVICE_KIND_")
#: An attempt's answer comes at the latest so long after the attempt is over, seconds: a camera that hangs, a slow line.
_MARGIN_S: Final = 5.0
#: As the contract says where nothing is asked for, seconds.
_ATTEMPT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class StationDevice:
    """A device of a station; see Device in the contract.

    Parameters
    ----------
    device_id : str
        Names it on the station.
    kind : DeviceKind
        What it captures.
    vendor, model, serial : str
        "" where not known.
    ppi : float
        Of a scanner, pixels an inch; 0 where not known.
    positions : tuple of FingerPosition
        What a scanner can capture.
    holder : str
        Who has it; "" where nobody has.
    """

    device_id: str
    kind: DeviceKind
    vendor: str
    model: str
    serial: str
    ppi: float
    positions: tuple[FingerPosition, ...]
    holder: str


@dataclass(frozen=True, slots=True)
class StationLease:
    """The right to use a device, alone and for a while.

    Parameters
    ----------
    device_id : str
        Which.
    token : str
        Proves it; keep it secret.
    expires_at : datetime
        When it runs out, on the station's clock.
    """

    device_id: str
    token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True, eq=False)
class CaptureMoment:
    """Where an attempt is; see CaptureResponse in the contract.

    Parameters
    ----------
    guidance : Guidance or None
        What the person should do; None where nothing is to be said, or by a code that is not known here.
    text : str
        The same in the language of the connection.
    good_for_s : float
        For how long all has been well, seconds.
    preview : bytes
        JPEG; empty where none was asked for.
    report : SampleReport or None
        Of the newest frame or print.
    sample : FaceImage or FingerprintImage or UnreadableSample or None
        What was taken; in the last moment only.
    """

    guidance: Guidance | None
    text: str
    good_for_s: float
    preview: bytes = field(repr=False)
    report: SampleReport | None
    sample: Sample | None


class StationOperations(CallBuilder):
    """Builds calls in one language; the two clients share it."""

    def __init__(self, locale: Locale) -> None:
        self._context = context_pb2.RequestContext(locale=locale)

    def devices(self) -> Operation[list[StationDevice]]:
        """ListDevices."""
        return self._operation(
            "ListDevices",
            pb.ListDevicesRequest(context=self._context),
            pb.ListDevicesResponse,
            lambda answer: [_device(row) for row in answer.devices],
        )

    def acquire(self, device_id: str, holder: str, ttl_s: float) -> Operation[StationLease]:
        """AcquireDevice."""
        return self._operation(
            "AcquireDevice",
            pb.AcquireDeviceRequest(context=self._context, device_id=device_id, holder=holder, ttl=_duration(ttl_s)),
            pb.AcquireDeviceResponse,
            lambda answer: StationLease(device_id, answer.lease_token, wire.time_from_wire(answer.expires_at)),
        )

    def take_over(self, device_id: str, reason: str, holder: str, ttl_s: float) -> Operation[StationLease]:
        """TakeOverDevice."""
        request = pb.TakeOverDeviceRequest(
            context=self._context, device_id=device_id, holder=holder, ttl=_duration(ttl_s), reason=reason
        )
        return self._operation(
            "TakeOverDevice",
            request,
            pb.TakeOverDeviceResponse,
            lambda answer: StationLease(device_id, answer.lease_token, wire.time_from_wire(answer.expires_at)),
        )

    def renew(self, lease: StationLease, ttl_s: float) -> Operation[StationLease]:
        """RenewLease."""
        return self._operation(
            "RenewLease",
            pb.RenewLeaseRequest(
                context=self._context, device_id=lease.device_id, lease_token=lease.token, ttl=_duration(ttl_s)
            ),
            pb.RenewLeaseResponse,
            lambda answer: StationLease(lease.device_id, lease.token, wire.time_from_wire(answer.expires_at)),
        )

    def release(self, lease: StationLease) -> Operation[None]:
        """ReleaseDevice."""
        return self._operation(
            "ReleaseDevice",
            pb.ReleaseDeviceRequest(context=self._context, device_id=lease.device_id, lease_token=lease.token),
            pb.ReleaseDeviceResponse,
            lambda _: None,
        )

    def script(self, device_id: str, faults: tuple[Fault, ...]) -> Operation[None]:
        """ScriptVirtualDevice."""
        rows = [
            pb.VirtualFault(
                trouble=0 if fault.trouble is Trouble.NOTHING else pb.Trouble.Value(f"TROUBLE_{fault.trouble.name}"),  # type: ignore[arg-type]  # zero is a member
                delay=_duration(fault.seconds),
            )
            for fault in faults
        ]
        return self._operation(
            "ScriptVirtualDevice",
            pb.ScriptVirtualDeviceRequest(context=self._context, device_id=device_id, faults=rows),
            pb.ScriptVirtualDeviceResponse,
            lambda _: None,
        )

    def capture(
        self, lease: StationLease, position: FingerPosition, attempt_s: float, preview_side_px: int
    ) -> Operation[CaptureMoment]:
        """Capture; one answer of its stream."""
        request = pb.CaptureRequest(
            context=self._context,
            device_id=lease.device_id,
            lease_token=lease.token,
            position=int(position),  # type: ignore[arg-type]  # the codes are the contract's numbers
            attempt=_duration(attempt_s),
            preview_side_px=preview_side_px,
        )
        return self._operation("Capture", request, pb.CaptureResponse, _moment)

    def watch(self) -> Operation[DeviceEvent | None]:
        """WatchDevices; one answer of its stream, None for an event that is not known here."""
        return self._operation(
            "WatchDevices", pb.WatchDevicesRequest(context=self._context), pb.WatchDevicesResponse, _event
        )

    @staticmethod
    def _operation(method: str, request: Any, response: Any, read: Any) -> Operation[Any]:
        return Operation(f"{_SERVICE}/{method}", request, response, read)


class StationClient(Channel):
    """A station; every method is safe to call from several threads.

    Errors are those of the devices themselves (:mod:`biometrik_hardware.errors`); besides, each method may raise a
    ServiceError.

    Parameters
    ----------
    address : str or Connection
        ``host:port`` or ``unix:/path``; a Connection also says how to prove who calls.

    Examples
    --------
    >>> with StationClient("127.0.0.1:50052") as station:  # doctest: +SKIP
    ...     lease = station.acquire("camera:opencv:/dev/video0")
    ...     for moment in station.capture(lease):
    ...         print(moment.text)
    ...     station.release(lease)
    """

    def __init__(self, address: str | Connection) -> None:
        super().__init__(address)
        self._operations = StationOperations(self.connection.locale)

    def devices(self) -> list[StationDevice]:
        """Return the devices that can be used now."""
        return self._do(self._operations.devices())

    def acquire(self, device_id: str, *, holder: str = "", ttl_s: float = 60.0) -> StationLease:
        """Open a device and have it alone; raises DeviceBusyError, DeviceNotFoundError and other DeviceErrors."""
        return self._do(self._operations.acquire(device_id, holder, ttl_s))

    def take_over(self, device_id: str, reason: str, *, holder: str = "", ttl_s: float = 60.0) -> StationLease:
        """Have a device although another has it, whose attempt ends with LeaseLostError.

        Parameters
        ----------
        device_id : str
            Which.
        reason : str
            Why, in the operator's words, no names; told to all who watch, and kept in the station's log.
        holder : str
            Who it is for; "" for the name of the client.
        ttl_s : float
            For how long, seconds.

        Raises
        ------
        PermissionDeniedError
            The client has no scope ``device.takeover``.
        DeviceError
            It is not listed, or cannot be opened.
        """
        return self._do(self._operations.take_over(device_id, reason, holder, ttl_s))

    def renew(self, lease: StationLease, *, ttl_s: float = 60.0) -> StationLease:
        """Return the lease with a later end; raises LeaseLostError."""
        return self._do(self._operations.renew(lease, ttl_s))

    def release(self, lease: StationLease) -> None:
        """Give a device back."""
        self._do(self._operations.release(lease))

    def script(self, device_id: str, *faults: Fault) -> None:
        """Say what goes wrong with the next captures of a virtual device, and plug its cable in."""
        self._do(self._operations.script(device_id, faults))

    def capture(
        self,
        lease: StationLease,
        position: FingerPosition = FingerPosition.UNKNOWN,
        *,
        attempt_s: float = _ATTEMPT_S,
        preview_side_px: int = 0,
    ) -> Generator[CaptureMoment, None, None]:
        """Make one attempt, and yield what is to be told of it; the last moment has the sample.

        Close the generator to give the attempt up.

        Raises
        ------
        CaptureTimeoutError
            Nobody came, or nothing of what was seen could be used.
        DeviceError
            The lease is lost, the device gone, or another attempt runs.
        """
        operation = self._operations.capture(lease, position, attempt_s, preview_side_px)
        yield from self._stream(operation, attempt_s + _MARGIN_S)

    def watch(self) -> Iterator[DeviceEvent]:
        """Yield what happens to devices, from now on until the station stops; close the iterator to end it."""
        for event in self._stream(self._operations.watch(), None):
            if event is not None:
                yield event

    def _stream(self, operation: Operation[Any], timeout_s: float | None) -> Iterator[Any]:
        begin: grpc.UnaryStreamMultiCallable[Message, Any] = self._channel.unary_stream(
            operation.method, lambda request: request.SerializeToString(), operation.response.FromString
        )
        call = begin(operation.request, timeout=timeout_s, metadata=self.connection.metadata)
        try:
            for answer in call:
                yield operation.read(answer)
        except grpc.RpcError as failure:
            raise self.connection.error(failure, timeout_s) from None
        finally:
            call.cancel()


class AsyncStationClient(AsyncChannel):
    """The awaitable twin of :class:`StationClient`, for one event loop."""

    def __init__(self, address: str | Connection) -> None:
        super().__init__(address)
        self._operations = StationOperations(self.connection.locale)

    async def devices(self) -> list[StationDevice]:
        """Return the devices that can be used now."""
        return await self._do(self._operations.devices())

    async def acquire(self, device_id: str, *, holder: str = "", ttl_s: float = 60.0) -> StationLease:
        """Open a device and have it alone; raises DeviceBusyError, DeviceNotFoundError and other DeviceErrors."""
        return await self._do(self._operations.acquire(device_id, holder, ttl_s))

    async def take_over(self, device_id: str, reason: str, *, holder: str = "", ttl_s: float = 60.0) -> StationLease:
        """Have a device although another has it; see :meth:`StationClient.take_over`."""
        return await self._do(self._operations.take_over(device_id, reason, holder, ttl_s))

    async def renew(self, lease: StationLease, *, ttl_s: float = 60.0) -> StationLease:
        """Return the lease with a later end; raises LeaseLostError."""
        return await self._do(self._operations.renew(lease, ttl_s))

    async def release(self, lease: StationLease) -> None:
        """Give a device back."""
        await self._do(self._operations.release(lease))

    async def script(self, device_id: str, *faults: Fault) -> None:
        """Say what goes wrong with the next captures of a virtual device, and plug its cable in."""
        await self._do(self._operations.script(device_id, faults))

    async def capture(
        self,
        lease: StationLease,
        position: FingerPosition = FingerPosition.UNKNOWN,
        *,
        attempt_s: float = _ATTEMPT_S,
        preview_side_px: int = 0,
    ) -> AsyncIterator[CaptureMoment]:
        """Make one attempt, and yield what is to be told of it; see :meth:`StationClient.capture`."""
        operation = self._operations.capture(lease, position, attempt_s, preview_side_px)
        async for moment in self._stream(operation, attempt_s + _MARGIN_S):
            yield moment

    async def watch(self) -> AsyncIterator[DeviceEvent]:
        """Yield what happens to devices; see :meth:`StationClient.watch`."""
        async for event in self._stream(self._operations.watch(), None):
            if event is not None:
                yield event

    async def _stream(self, operation: Operation[Any], timeout_s: float | None) -> AsyncIterator[Any]:
        begin: grpc.aio.UnaryStreamMultiCallable[Message, Any] = self._channel.unary_stream(
            operation.method, lambda request: request.SerializeToString(), operation.response.FromString
        )
        call = begin(operation.request, timeout=timeout_s, metadata=self.connection.metadata)
        try:
            async for answer in call:
                yield operation.read(answer)
        except grpc.aio.AioRpcError as failure:
            raise self.connection.error(failure, timeout_s) from None
        finally:
            call.cancel()


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


def _device(message: pb.Device) -> StationDevice:
    return StationDevice(
        message.device_id,
        _KINDS.from_wire(message.kind),
        message.vendor,
        message.model,
        message.serial,
        message.ppi,
        tuple(wire.finger_position(position) for position in message.positions),
        message.holder,
    )


def _event(message: pb.WatchDevicesResponse) -> DeviceEvent | None:
    if message.event not in EventKind.__members__:
        return None
    return DeviceEvent(EventKind[message.event], message.device_id, message.detail, wire.time_from_wire(message.at))


def _moment(message: pb.CaptureResponse) -> CaptureMoment:
    return CaptureMoment(
        guidance=wire.GUIDANCE.get(message.guidance.code),
        text=message.guidance.text,
        good_for_s=message.good_for.seconds + message.good_for.nanos / 1e9,
        preview=message.preview_jpeg,
        report=wire.report_from_wire(message.report) if message.HasField("report") else None,
        sample=_sample(message.sample) if message.HasField("sample") else None,
    )


def _sample(message: sample_pb2.Sample) -> Sample:
    origin = wire.origin_from_wire(message)
    if message.modality == sample_pb2.MODALITY_FACE:
        return decoded(message.data, origin=origin)
    if message.modality == sample_pb2.MODALITY_FINGER:
        return decoded_print(
            message.data,
            ppi=message.ppi,
            position=wire.finger_position(message.position),
            impression=wire.IMPRESSIONS.from_wire(message.impression),
            origin=origin,
        )
    raise ProtocolError(f"sample: expected a face or a finger, got modality {message.modality}")
