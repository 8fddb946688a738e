"""Every scanner that libfprint knows and that hands out images, through its GObject API (extra ``libfprint``).

It needs libfprint 1.94 with its introspection data (Debian: ``gir1.2-fprint-2.0``) and PyGObject (``python3-gi``, or
the extra, which is built from source). Scanners that compare on their own chip have no image to give and are not
listed. The path is ``DRIVER/ID`` in libfprint's words, ``#2`` behind it for the second of the same kind. What libfprint
says of the resolution is seldom measured, and some drivers say nothing: measure with a target and state it.

What goes on in libfprint goes on in a GLib main context. Each open device has one of its own, in its own thread, so
that devices do not wait for each other.
"""

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import gi
import numpy as np

from biometrik.errors import PluginNotFoundError
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik_hardware.deadline import Deadline
from biometrik_hardware.errors import (
    DeviceAccessError,
    DeviceBusyError,
    DeviceError,
    DeviceGoneError,
    DeviceNotFoundError,
    DeviceProtocolError,
)
from biometrik_hardware.events import DeviceInfo
from biometrik_hardware.fingerprint.libfprint_numbering import to_libfprint
from biometrik_hardware.fingerprint.scanner import SINGLE_FINGERS, FingerprintScanner, Taken
from biometrik_hardware.leases import Lease
from biometrik_hardware.outcomes import Retry, RetryReason

try:
    gi.require_version("FPrint", "2.0")
    from gi.repository import FPrint, Gio, GLib, GUsb
except (ValueError, ImportError) as error:
    raise PluginNotFoundError(
        "driver libfprint: needs the system's libfprint with its introspection data; apt install gir1.2-fprint-2.0"
    ) from error

#: How often the deadline is looked at, milliseconds.
_LOOK_MS: Final = 20
_MAX_SIDE_PX: Final = 5000
_MM_AN_INCH: Final = 25.4
_LISTING: Final = threading.Lock()
#: Contexts at rest. None is ever freed: a device of libfprint may outlive its use, and would reach into one that is.
_CONTEXTS: Final[queue.SimpleQueue[Any]] = queue.SimpleQueue()
#: Where errors come from, in GLib's words.
_TRY_AGAIN: Final = GLib.quark_to_string(FPrint.device_retry_quark())
_LIBFPRINT: Final = GLib.quark_to_string(FPrint.device_error_quark())
_USB: Final = "g_usb_device_error_quark"

#: What libfprint says of a finger; whatever it says besides these is "please try again".
_RETRIES: Final = {
    int(FPrint.DeviceRetry.TOO_SHORT): RetryReason.LIFTED_TOO_SOON,
    int(FPrint.DeviceRetry.CENTER_FINGER): RetryReason.CENTRE_FINGER,
    int(FPrint.DeviceRetry.REMOVE_FINGER): RetryReason.REMOVE_FINGER,
}
#: Domain and code of an error → what it is in our words; whatever else libfprint says breaks its protocol.
_REFUSALS: Final[dict[tuple[str, int], tuple[type[DeviceError], str]]] = {
    (_LIBFPRINT, int(FPrint.DeviceError.REMOVED)): (DeviceGoneError, "a device that answers, got none; plug it in"),
    (_LIBFPRINT, int(FPrint.DeviceError.BUSY)): (DeviceBusyError, "a device at rest, got one that is in use"),
    (_LIBFPRINT, int(FPrint.DeviceError.TOO_HOT)): (DeviceBusyError, "a cool device, got a hot one; let it cool down"),
    (_USB, int(GUsb.DeviceError.NO_DEVICE)): (DeviceGoneError, "a device that answers, got none; plug it in"),
    (_USB, int(GUsb.DeviceError.PERMISSION_DENIED)): (DeviceAccessError, "access, got none; add a udev rule for it"),
}


class LibfprintScanner(FingerprintScanner):
    """See the module docstring.

    Parameters
    ----------
    info : DeviceInfo
        Which scanner.
    ppi : float or None
        Pixels an inch, as measured; None takes what libfprint says of each image.
    """

    driver = "libfprint"
    _library: Any = None
    _device: Any = None
    _context: Any = None

    def __init__(self, info: DeviceInfo, *, ppi: float | None = None, **device: Any) -> None:
        super().__init__(replace(info, ppi=ppi), **device)

    @classmethod
    def discover(cls) -> Iterator[DeviceInfo]:
        """Yield the scanners that give images; asked anew each time, because a removed one is not listed again."""
        for path, device in _plugged_in(_library()).items():
            yield DeviceInfo(cls.driver, path, cls.kind, model=device.get_name(), positions=SINGLE_FINGERS)

    def sensor_template(
        self, *, timeout_s: float, position: FingerPosition = FingerPosition.UNKNOWN, lease: Lease | None = None
    ) -> bytes:
        """Return libfprint's own template of a finger, as ``fprintd`` stores it; only libfprint can compare it.

        It is given out and never taken in: libfprint 1.94 ends the process over a template that is cut short.

        Parameters
        ----------
        timeout_s : float
            Seconds for all the touches that it needs, most often five.
        position : FingerPosition
            What is asked of the person; part of the template, in libfprint's numbers.
        lease : Lease or None
            Needed while somebody holds one.
        """
        with self._operation(timeout_s, lease) as (deadline, worker):
            return worker.run(lambda: self._enrolled(position, deadline), deadline)

    # -- hooks

    def _open(self, deadline: Deadline) -> None:
        # Listing goes on in GLib's default context, so it comes before this thread has another.
        self._library = _library()
        self._device = _plugged_in(self._library).get(self.info.path)
        if self._device is None:
            raise DeviceNotFoundError(f"{self.info.id}: expected a scanner that libfprint lists, got none; plug it in")
        try:
            self._context = _CONTEXTS.get_nowait()
        except queue.Empty:
            self._context = GLib.MainContext()
        self._context.push_thread_default()
        self._finished(self._device.open, self._device.open_finish, deadline)

    def _close(self) -> None:
        device, self._device, self._library = self._device, None, None
        context, self._context = self._context, None
        if context is None:
            return
        try:
            if device.is_open():
                _in_context(context, device.close, device.close_finish, Deadline(0.5))
        except GLib.Error:
            pass  # it is gone, so nothing is left to close
        finally:
            context.pop_thread_default()
            _CONTEXTS.put(context)

    def _read(self, position: FingerPosition, deadline: Deadline) -> Taken | None:
        device = self._device
        try:
            image = self._finished(lambda *rest: device.capture(True, *rest), device.capture_finish, deadline)
        except _RetryError as wanted:
            return Retry(wanted.reason)
        width, height, pixels = image.get_width(), image.get_height(), image.get_data()
        if not (0 < width <= _MAX_SIDE_PX and 0 < height <= _MAX_SIDE_PX and len(pixels) == width * height):
            raise DeviceProtocolError(f"{self.info.id}: expected an image, got {len(pixels)} bytes of another size")
        ppi = self.info.ppi or _MM_AN_INCH * image.get_ppmm()
        if not ppi:
            raise DeviceProtocolError(f"{self.info.id}: expected a resolution, got none of libfprint; state ppi")
        return FingerprintImage(np.frombuffer(bytes(pixels), np.uint8).reshape(height, width), ppi, position)

    # -- libfprint's language

    def _enrolled(self, position: FingerPosition, deadline: Deadline) -> bytes:
        device, template = self._device, FPrint.Print.new(self._device)
        template.set_finger(FPrint.Finger(to_libfprint(position)))
        try:
            made = self._finished(
                lambda cancellable, done: device.enroll(template, cancellable, None, None, done),
                device.enroll_finish,
                deadline,
            )
        except _RetryError as wanted:
            raise DeviceProtocolError(f"{self.info.id}: expected a template, got {wanted.reason.value}") from wanted
        return bytes(made.serialize())

    def _finished(self, start: Callable[..., None], finish: Callable[[Any], Any], deadline: Deadline) -> Any:
        try:
            return _in_context(self._context, start, finish, deadline)
        except GLib.Error as error:
            raise self._in_ours(error) from error

    def _in_ours(self, error: Any) -> Exception:
        if error.matches(Gio.io_error_quark(), Gio.IOErrorEnum.CANCELLED):
            return TimeoutError()
        if error.domain == _TRY_AGAIN:
            return _RetryError(_RETRIES.get(error.code, RetryReason.REMOVE_FINGER))
        broken = DeviceProtocolError, f"an answer, got error {error.code} of {error.domain}"
        kind, what = _REFUSALS.get((error.domain, error.code), broken)
        return kind(f"{self.info.id}: expected {what}")


class _RetryError(Exception):
    def __init__(self, reason: RetryReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def _library() -> Any:
    # A context lists its devices once; contexts that list at the same time would take each other's events.
    with _LISTING:
        library = FPrint.Context()
        library.enumerate()
        return library


def _plugged_in(library: Any) -> dict[str, Any]:
    # Path → device, of those that give images.
    counted: Counter[str] = Counter()
    found = {}
    for device in library.get_devices():
        kind = f"{device.get_driver()}/{device.get_device_id()}"
        counted[kind] += 1
        if device.get_features() & FPrint.DeviceFeature.CAPTURE:
            found[kind if counted[kind] == 1 else f"{kind}#{counted[kind]}"] = device
    return found


def _in_context(context: Any, start: Callable[..., None], finish: Callable[[Any], Any], deadline: Deadline) -> Any:
    # One call of libfprint from its start to its end; the deadline cancels it.
    cancellable, results = Gio.Cancellable(), []
    look = GLib.timeout_source_new(_LOOK_MS)
    look.set_callback(lambda *_: GLib.SOURCE_CONTINUE)
    look.attach(context)
    try:
        start(cancellable, lambda _, result, *__: results.append(result))
        while not results:
            if deadline.over:
                cancellable.cancel()
            context.iteration(True)
    finally:
        look.destroy()
    return finish(results[0])


DRIVER = LibfprintScanner
