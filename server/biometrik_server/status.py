"""The one map from the library's errors to gRPC status."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2

from biometrik import errors
from biometrik.reasons import Locale
from biometrik_hardware import errors as devices

#: ErrorInfo.domain of everything that this project raises on purpose.
DOMAIN: Final = "biometrik"
#: Trailing metadata in which gRPC libraries look for the details.
DETAILS_KEY: Final = "grpc-status-details-bin"

_Code = grpc.StatusCode

#: Nearest class wins; a test walks every error class.
CODES: Final[Mapping[type[errors.BiometrikError], grpc.StatusCode]] = {
    errors.BiometrikError: _Code.INTERNAL,
    errors.InvalidInputError: _Code.INVALID_ARGUMENT,
    errors.ThresholdUnsupportedError: _Code.FAILED_PRECONDITION,
    errors.TemplateError: _Code.INVALID_ARGUMENT,
    errors.IncompatibleTemplateError: _Code.FAILED_PRECONDITION,
    errors.GalleryError: _Code.INTERNAL,
    errors.SubjectNotFoundError: _Code.NOT_FOUND,
    errors.EncounterNotFoundError: _Code.NOT_FOUND,
    errors.GalleryNotFoundError: _Code.NOT_FOUND,
    errors.GalleryExistsError: _Code.ALREADY_EXISTS,
    errors.TransactionConflictError: _Code.ALREADY_EXISTS,
    errors.LegalBasisMissingError: _Code.FAILED_PRECONDITION,
    errors.ConsentMissingError: _Code.FAILED_PRECONDITION,
    errors.DatabaseLockedError: _Code.UNAVAILABLE,
    errors.StoreDamagedError: _Code.DATA_LOSS,
    errors.StoreUnavailableError: _Code.UNAVAILABLE,
    errors.ModelError: _Code.FAILED_PRECONDITION,
    errors.PluginNotFoundError: _Code.FAILED_PRECONDITION,
    errors.EngineStateError: _Code.UNAVAILABLE,
    errors.ServiceError: _Code.INTERNAL,
    errors.ServiceUnavailableError: _Code.UNAVAILABLE,
    errors.ServiceTimeoutError: _Code.DEADLINE_EXCEEDED,
    errors.QueueFullError: _Code.RESOURCE_EXHAUSTED,
    errors.PayloadTooLargeError: _Code.RESOURCE_EXHAUSTED,
    errors.UnauthenticatedError: _Code.UNAUTHENTICATED,
    errors.PermissionDeniedError: _Code.PERMISSION_DENIED,
    errors.UploadNotFoundError: _Code.NOT_FOUND,
    errors.SessionNotFoundError: _Code.NOT_FOUND,
    errors.UploadIncompleteError: _Code.INVALID_ARGUMENT,
    errors.SnapshotsDisabledError: _Code.FAILED_PRECONDITION,
    errors.SnapshotRunningError: _Code.ABORTED,
    devices.DeviceError: _Code.INTERNAL,
    devices.DeviceNotFoundError: _Code.NOT_FOUND,
    devices.DeviceNotOpenError: _Code.FAILED_PRECONDITION,
    devices.DeviceAccessError: _Code.FAILED_PRECONDITION,
    devices.DeviceBusyError: _Code.ABORTED,
    devices.LeaseLostError: _Code.FAILED_PRECONDITION,
    devices.DeviceGoneError: _Code.UNAVAILABLE,
    devices.CaptureCancelledError: _Code.CANCELLED,
    devices.CaptureTimeoutError: _Code.DEADLINE_EXCEEDED,
}

#: Where a person must act: what to say, English and Indonesian, by gRPC code.
_FOR_PEOPLE: Final[Mapping[grpc.StatusCode, tuple[str, str]]] = {
    _Code.INVALID_ARGUMENT: (
        "The request cannot be used as it is: check what was entered and sent.",
        "Permintaan tidak dapat diproses: periksa data yang dimasukkan dan dikirim.",
    ),
    _Code.NOT_FOUND: (
        "Nothing is stored under this number: check it.",
        "Tidak ada data dengan nomor ini: periksa kembali.",
    ),
    _Code.ALREADY_EXISTS: (
        "This was entered before, with other data: check the case before going on.",
        "Data ini sudah pernah dimasukkan dengan isi berbeda: periksa berkas sebelum melanjutkan.",
    ),
    _Code.FAILED_PRECONDITION: (
        "The system is not set up for this request: call the administrator.",
        "Sistem belum disiapkan untuk permintaan ini: hubungi administrator.",
    ),
    _Code.RESOURCE_EXHAUSTED: (
        "The system is busy: try again in a moment.",
        "Sistem sedang sibuk: coba lagi sebentar.",
    ),
    _Code.UNAVAILABLE: (
        "The system cannot be used now; nothing was changed: try again, then call the administrator.",
        "Sistem sedang tidak dapat dipakai; tidak ada yang berubah: coba lagi, lalu hubungi administrator.",
    ),
    _Code.ABORTED: (
        "Somebody else is using this: wait a moment and try again.",
        "Sedang dipakai pihak lain: tunggu sebentar lalu coba lagi.",
    ),
    _Code.CANCELLED: (
        "It was ended before it was done: try again.",
        "Dihentikan sebelum selesai: coba lagi.",
    ),
    _Code.DEADLINE_EXCEEDED: (
        "It took too long: try again.",
        "Waktu habis: coba lagi.",
    ),
    _Code.UNAUTHENTICATED: (
        "This counter is not known to the system: call the administrator.",
        "Loket ini tidak dikenal sistem: hubungi administrator.",
    ),
    _Code.PERMISSION_DENIED: (
        "This counter may not do this: call the administrator.",
        "Loket ini tidak berwenang melakukan ini: hubungi administrator.",
    ),
    _Code.DATA_LOSS: (
        "Stored data are damaged: stop and call the administrator.",
        "Data tersimpan rusak: hentikan pekerjaan dan hubungi administrator.",
    ),
    _Code.INTERNAL: (
        "The system made an error: call the administrator.",
        "Terjadi kesalahan sistem: hubungi administrator.",
    ),
}
#: More exact words for what happens at counters, by reason.
_FOR_REASONS: Final[Mapping[str, tuple[str, str]]] = {
    "SUBJECT_NOT_FOUND": (
        "Nobody is enrolled under this number: check it, or enrol the person.",
        "Tidak ada orang terdaftar dengan nomor ini: periksa nomor atau daftarkan orangnya.",
    ),
    "SESSION_NOT_FOUND": (
        "This enrolment was ended or took too long: begin it again.",
        "Pendaftaran ini sudah berakhir atau terlalu lama: mulai lagi dari awal.",
    ),
    "THRESHOLD_UNSUPPORTED": (
        "The evidence does not support so strict an error rate: use a permitted policy.",
        "Bukti tidak mendukung tingkat kesalahan seketat ini: gunakan kebijakan yang diizinkan.",
    ),
    "TEMPLATE_CONTRACT_MISMATCH": (
        "This person was enrolled with other models: enrol again.",
        "Orang ini didaftarkan dengan model lain: daftarkan ulang.",
    ),
    "CONSENT_MISSING": (
        "Consent or another lawful basis must be recorded first.",
        "Persetujuan atau dasar hukum harus dicatat terlebih dahulu.",
    ),
    "LEGAL_BASIS_MISSING": (
        "A watchlist needs a legal basis.",
        "Daftar pengawasan memerlukan dasar hukum.",
    ),
    "SNAPSHOT_RUNNING": (
        "A copy of the database is being made: wait until it is done.",
        "Salinan basis data sedang dibuat: tunggu sampai selesai.",
    ),
    "DEVICE_REMOVED": (
        "The device was unplugged or switched off: plug it in and try again.",
        "Perangkat terlepas atau mati: sambungkan lalu coba lagi.",
    ),
    "DEVICE_NOT_FOUND": (
        "The device is not there: plug it in and switch it on.",
        "Perangkat tidak ditemukan: sambungkan dan nyalakan.",
    ),
    "DEVICE_PROTOCOL": (
        "The device does not answer as it should: unplug it, plug it in again, then call the administrator.",
        "Perangkat tidak menjawab dengan benar: lepas dan sambungkan lagi, lalu hubungi administrator.",
    ),
    "LEASE_LOST": (
        "The device was given back meanwhile: take it again.",
        "Perangkat sudah dilepas: ambil kembali.",
    ),
    "CAPTURE_TIMEOUT": (
        "Nothing that could be used was presented in time: try again as advised.",
        "Tidak ada sampel yang dapat dipakai dalam waktunya: coba lagi sesuai petunjuk.",
    ),
    "PAYLOAD_TOO_LARGE": (
        "The photograph is too large: take it at a smaller size.",
        "Foto terlalu besar: ambil dengan ukuran lebih kecil.",
    ),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """What a call fails with.

    Parameters
    ----------
    code : grpc.StatusCode
        Its class.
    reason : str
        ErrorInfo.reason, upper case.
    message : str
        For logs, in English; never biometric data.
    localized : str
        For the operator.
    locale : str
        Language of ``localized``.
    metadata : mapping of str to str
        ErrorInfo.metadata.
    """

    code: grpc.StatusCode
    reason: str
    message: str
    localized: str
    locale: Locale
    metadata: Mapping[str, str] = field(default_factory=dict)

    def details(self) -> bytes:
        """Return google.rpc.Status with ErrorInfo and LocalizedMessage, serialised."""
        return _details(
            self.code, self.reason, self.message, self.localized, self.locale, tuple(sorted(self.metadata.items()))
        )


@lru_cache(maxsize=64)  # a full house says the same to everybody, hundreds of times a second
def _details(
    code: grpc.StatusCode,
    reason: str,
    message: str,
    localized: str,
    locale: Locale,
    metadata: tuple[tuple[str, str], ...],
) -> bytes:
    packed = []
    for part in (
        error_details_pb2.ErrorInfo(domain=DOMAIN, reason=reason, metadata=dict(metadata)),
        error_details_pb2.LocalizedMessage(locale=locale, message=localized),
    ):
        holder = AnyMessage()
        holder.Pack(part)
        packed.append(holder)
    whole = status_pb2.Status(code=code.value[0], message=message, details=packed)
    return bytes(whole.SerializeToString())


def failure_of(error: BaseException, locale: Locale = "en") -> Failure:
    """Return what a call fails with for an error.

    An error that is not the library's own becomes INTERNAL without its message, which could hold anything.
    """
    if isinstance(error, errors.BiometrikError):
        code = next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)
        reason, message = error.reason, str(error)
    else:
        code, reason, message = _Code.INTERNAL, "INTERNAL", "an error of the server; its log has the cause"
    metadata = {"tightest": repr(error.tightest)} if isinstance(error, errors.ThresholdUnsupportedError) else {}
    english, indonesian = _FOR_REASONS.get(reason) or _FOR_PEOPLE[code]
    return Failure(code, reason, message, indonesian if locale == "id" else english, locale, metadata)
