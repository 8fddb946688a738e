"""Every error that the library raises on purpose.

::

    BiometrikError
    ├── InvalidInputError (ValueError)      wrong shape, dtype, range, unknown name of a setting
    │   ├── ImageError                      bytes that are not an image we accept
    │   │   ├── UnsupportedFormatError      not one of the accepted formats, or an unsupported variant
    │   │   ├── ImageTooLargeError          more pixels or bytes than the limit allows
    │   │   └── DamagedImageError           truncated or corrupt
    │   ├── ResolutionMissingError          a print whose pixels an inch nobody states
    │   ├── InvalidPositionError            no finger, or not the one that is meant
    │   ├── UnsupportedModalityError        a sample of a kind that this release cannot use
    │   └── ThresholdUnsupportedError       the calibration cannot support the FMR or FPIR asked for
    ├── TemplateError                       a template that cannot be used
    │   ├── TemplateFormatError             its bytes are damaged or of another version
    │   ├── RecordFormatError               an interchange record (ISO, ANSI, CBEFF) breaks its format
    │   └── IncompatibleTemplateError       other modality or other model contract
    ├── GalleryError                        the gallery cannot do what was asked
    │   ├── SubjectNotFoundError (LookupError)
    │   ├── EncounterNotFoundError (LookupError)
    │   ├── GalleryNotFoundError (LookupError)
    │   ├── GalleryExistsError
    │   ├── TransactionConflictError        the same transaction id with another request
    │   ├── LegalBasisMissingError          a watchlist without the law that allows it
    │   ├── ConsentMissingError             an enrolment without the consent that the configuration requires
    │   ├── DatabaseLockedError             another process owns the database; names the holder
    │   ├── StoreDamagedError               the database's bytes are not what was written
    │   └── StoreUnavailableError           disk full, read-only, gone
    ├── ModelError                          weights or runtime
    │   ├── ModelNotFoundError
    │   ├── ModelIntegrityError             sha256 is not the manifest's
    │   ├── ModelLicenceError               no licence is recorded for the weights
    │   ├── CalibrationNotFoundError        no calibration for this model contract
    │   └── ProviderUnavailableError        the execution provider asked for is not here; says what is missing
    ├── PluginNotFoundError (LookupError)   no plug-in of that name, or its extra is not installed
    ├── EngineStateError                    used in a forked child of its process
    │   └── EngineClosedError               used after it was closed
    ├── DeviceError                         a scanner or camera; these live in biometrik_hardware.errors
    │   ├── DeviceNotFoundError (LookupError)
    │   ├── DeviceNotOpenError
    │   ├── DeviceAccessError
    │   ├── DeviceBusyError
    │   ├── LeaseLostError
    │   ├── DeviceGoneError
    │   ├── DeviceProtocolError
    │   ├── CaptureCancelledError
    │   └── CaptureTimeoutError (TimeoutError)
    └── ServiceError                        the service cannot be asked, or refuses
        ├── ServiceUnavailableError         not reachable, starting, stopping
        ├── ServiceTimeoutError (TimeoutError)  the deadline passed
        ├── QueueFullError                  too much is waiting: try again in a moment
        ├── PayloadTooLargeError            a message is larger than the service takes
        ├── UnauthenticatedError            no token or certificate that the service knows
        ├── PermissionDeniedError           known, without the scope
        ├── UploadNotFoundError (LookupError)   used, expired, or of another client
        ├── SessionNotFoundError (LookupError)  ended, expired, or of another client
        ├── UploadIncompleteError           size or digest of an upload does not fit
        ├── SnapshotsDisabledError          the service has no folder for copies of its database
        ├── SnapshotRunningError            a copy is being made: wait for it
        └── ProtocolError                   the other side does not speak this contract

"Please try again" is not an error: a photograph without a face, a bad capture, a non-match are outcomes
(see :mod:`biometrik.types`). A message reads ``thing: expected X, got Y`` and never holds pixels, templates
or names of people.
"""


class BiometrikError(Exception):
    """Root of every error that the library raises on purpose.

    Attributes
    ----------
    reason : str
        Stable upper-case word for machines, one per class.
    """

    reason = "INTERNAL"


class InvalidInputError(BiometrikError, ValueError):
    """An argument has the wrong shape, dtype, range or name."""

    reason = "INVALID_INPUT"


class ImageError(InvalidInputError):
    """Bytes are not an image that the library accepts."""

    reason = "IMAGE_INVALID"


class UnsupportedFormatError(ImageError):
    """The image's format, or this variant of it, is not accepted."""

    reason = "UNSUPPORTED_FORMAT"


class ImageTooLargeError(ImageError):
    """The image has more bytes or pixels than the limit allows."""

    reason = "IMAGE_TOO_LARGE"


class DamagedImageError(ImageError):
    """The image is truncated or corrupt."""

    reason = "IMAGE_DAMAGED"


class ThresholdUnsupportedError(InvalidInputError):
    """The evidence behind the calibration cannot support the error rate asked for.

    Attributes
    ----------
    tightest : float
        The smallest rate (FMR, or FPIR for this gallery) that the calibration supports, 0..1.
    """

    reason = "THRESHOLD_UNSUPPORTED"

    def __init__(self, message: str, *, tightest: float) -> None:
        super().__init__(message)
        self.tightest = tightest


class ResolutionMissingError(InvalidInputError):
    """A print says nothing of its pixels an inch that can be relied on, and the caller did not either."""

    reason = "RESOLUTION_MISSING"


class InvalidPositionError(InvalidInputError):
    """A finger position that is none, or that does not fit what is sent with it."""

    reason = "POSITION_INVALID"


class UnsupportedModalityError(InvalidInputError):
    """A sample is of a modality that this release cannot use."""

    reason = "UNSUPPORTED_MODALITY"


class TemplateError(BiometrikError):
    """A template cannot be used."""

    reason = "TEMPLATE_INVALID"


class TemplateFormatError(TemplateError):
    """A template's bytes are damaged or of an unknown version."""

    reason = "TEMPLATE_FORMAT"


class RecordFormatError(TemplateError):
    """An interchange record (ISO/IEC 19794, ANSI 378, CBEFF) breaks its format or its size limit."""

    reason = "RECORD_INVALID"


class IncompatibleTemplateError(TemplateError):
    """Two templates of different modalities or model contracts meet."""

    reason = "TEMPLATE_CONTRACT_MISMATCH"


class GalleryError(BiometrikError):
    """The gallery cannot do what was asked."""

    reason = "GALLERY"


class SubjectNotFoundError(GalleryError, LookupError):
    """No subject has this id."""

    reason = "SUBJECT_NOT_FOUND"


class EncounterNotFoundError(GalleryError, LookupError):
    """No encounter has this id."""

    reason = "ENCOUNTER_NOT_FOUND"


class GalleryNotFoundError(GalleryError, LookupError):
    """No gallery has this name."""

    reason = "GALLERY_NOT_FOUND"


class GalleryExistsError(GalleryError):
    """A gallery of this name exists already."""

    reason = "GALLERY_EXISTS"


class TransactionConflictError(GalleryError):
    """A transaction id was used before, with another request."""

    reason = "TRANSACTION_CONFLICT"


class LegalBasisMissingError(GalleryError):
    """A watchlist was to be created without naming the law that allows it."""

    reason = "LEGAL_BASIS_MISSING"


class ConsentMissingError(GalleryError):
    """A person was to be enrolled without a reference of the consent that the configuration requires."""

    reason = "CONSENT_MISSING"


class DatabaseLockedError(GalleryError):
    """Another process (or engine) owns the database; the message names it."""

    reason = "DATABASE_LOCKED"


class StoreDamagedError(GalleryError):
    """The database's bytes are not what was written."""

    reason = "STORE_DAMAGED"


class StoreUnavailableError(GalleryError):
    """The database cannot be read or written: disk full, read-only, gone."""

    reason = "STORE_UNAVAILABLE"


class ModelError(BiometrikError):
    """Weights or their runtime cannot be used."""

    reason = "MODEL"


class ModelNotFoundError(ModelError):
    """The weights are not on this machine."""

    reason = "MODEL_NOT_FOUND"


class ModelIntegrityError(ModelError):
    """The weights are not those that the manifest names (sha256)."""

    reason = "MODEL_INTEGRITY"


class ModelLicenceError(ModelError):
    """No licence is recorded for the weights, so they are refused."""

    reason = "MODEL_LICENCE_UNKNOWN"


class CalibrationNotFoundError(ModelError):
    """No calibration is known for this model contract."""

    reason = "CALIBRATION_NOT_FOUND"


class ProviderUnavailableError(ModelError):
    """The execution provider asked for cannot run here; the message says what is missing."""

    reason = "PROVIDER_UNAVAILABLE"


class PluginNotFoundError(BiometrikError, LookupError):
    """No plug-in has this name, or the extra that it needs is not installed."""

    reason = "PLUGIN_NOT_FOUND"


class EngineStateError(BiometrikError):
    """The engine cannot be used: it is closed, or this is a forked child of its process."""

    reason = "ENGINE_STATE"


class EngineClosedError(EngineStateError):
    """The engine was closed."""

    reason = "ENGINE_CLOSED"


class ServiceError(BiometrikError):
    """The service cannot be asked, or refuses to answer."""

    reason = "SERVICE"


class ServiceUnavailableError(ServiceError):
    """The service cannot be reached: it is not there, starting or stopping."""

    reason = "SERVICE_UNAVAILABLE"


class ServiceTimeoutError(ServiceError, TimeoutError):
    """The deadline passed before the answer came."""

    reason = "DEADLINE_EXCEEDED"


class QueueFullError(ServiceError):
    """The service works on as much as it can: nothing was done, try again in a moment."""

    reason = "QUEUE_FULL"


class PayloadTooLargeError(ServiceError):
    """A message is larger than the service takes."""

    reason = "PAYLOAD_TOO_LARGE"


class UnauthenticatedError(ServiceError):
    """The request carries no token or certificate that the service knows."""

    reason = "UNAUTHENTICATED"


class PermissionDeniedError(ServiceError):
    """The client is known, but has not the scope that the call needs."""

    reason = "PERMISSION_DENIED"


class UploadNotFoundError(ServiceError, LookupError):
    """No upload has this id: it was used, it expired, or another client made it."""

    reason = "UPLOAD_NOT_FOUND"


class SessionNotFoundError(ServiceError, LookupError):
    """No enrolment session has this id: it ended, it expired, or another client opened it."""

    reason = "SESSION_NOT_FOUND"


class UploadIncompleteError(ServiceError):
    """The bytes that came are not those that were announced."""

    reason = "UPLOAD_INCOMPLETE"


class SnapshotsDisabledError(ServiceError):
    """The service's configuration names no folder for copies of its database."""

    reason = "SNAPSHOTS_DISABLED"


class SnapshotRunningError(ServiceError):
    """A copy of the database is being made, and one at a time is."""

    reason = "SNAPSHOT_RUNNING"


class ProtocolError(ServiceError):
    """The other side does not speak this contract."""

    reason = "PROTOCOL"
