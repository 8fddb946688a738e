"""JSON Web Signatures of devices: RS256, with the signer's certificate beside it.

References
----------
RFC 7515, JSON Web Signature; RFC 7518, 3.3, RS256.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from biometrik.errors import InvalidInputError
from biometrik_hardware.errors import DeviceProtocolError

_MAX_CHAIN: Final = 5
_MIN_KEY_BITS: Final = 2048


class Trust:
    """Whose devices are believed.

    Parameters
    ----------
    authorities : bytes
        Certificates of the authorities that issue the devices' certificates, PEM, one after the other.

    Raises
    ------
    InvalidInputError
        There is no certificate in them.
    """

    def __init__(self, authorities: bytes) -> None:
        try:
            self._authorities = x509.load_pem_x509_certificates(authorities)
        except ValueError:
            raise InvalidInputError("authorities: expected certificates as PEM, got none") from None

    def payload(self, token: str) -> dict[str, Any]:
        """Return what a device signed.

        Parameters
        ----------
        token : str
            Header, payload and signature, base64url, with a point between.

        Raises
        ------
        DeviceProtocolError
            Not signed, by nobody that is trusted, with another algorithm, by a certificate that is not in force, or
            changed afterwards.
        """
        parts = token.split(".") if isinstance(token, str) else []
        if len(parts) != 3 or not parts[2]:
            raise DeviceProtocolError("signature: expected a signed answer, got an unsigned one; register the device")
        header, payload = (_object(part) for part in parts[:2])
        if header.get("alg") != "RS256":  # also refuses "none"
            raise DeviceProtocolError("signature: expected RS256, got another algorithm")
        key = self._trusted_key(_chain(header.get("x5c")))
        try:
            key.verify(decoded(parts[2]), f"{parts[0]}.{parts[1]}".encode(), PKCS1v15(), SHA256())
        except InvalidSignature:
            raise DeviceProtocolError("signature: expected one that fits, got an answer that was changed") from None
        return payload

    def _trusted_key(self, chain: Sequence[x509.Certificate]) -> RSAPublicKey:
        now = datetime.now(UTC)
        for at, certificate in enumerate(chain):
            if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
                raise DeviceProtocolError("signature: expected a certificate in force, got one that is not; renew it")
            if at and not _may_issue(certificate):
                break
            if certificate in self._authorities or any(_issued(certificate, by, now) for by in self._authorities):
                key = chain[0].public_key()
                if not isinstance(key, RSAPublicKey) or key.key_size < _MIN_KEY_BITS:
                    raise DeviceProtocolError(f"signature: expected an RSA key of {_MIN_KEY_BITS} bits, got another")
                return key
            if at + 1 == len(chain) or not _issued(certificate, chain[at + 1], now):
                break
        raise DeviceProtocolError("signature: expected a device of a trusted authority, got another one")


def decoded(text: str) -> bytes:
    """Return the bytes of base64url text, with or without its padding.

    Raises
    ------
    DeviceProtocolError
        It is none.
    """
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise DeviceProtocolError("answer: expected base64url, got other text") from None


def _object(part: str) -> dict[str, Any]:
    try:
        value = json.loads(decoded(part))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise DeviceProtocolError("signature: expected a JSON object, got something else")
    return value


def _chain(x5c: object) -> list[x509.Certificate]:
    texts = [x5c] if isinstance(x5c, str) else x5c
    if not isinstance(texts, list) or not 1 <= len(texts) <= _MAX_CHAIN:
        raise DeviceProtocolError(f"signature: expected 1 to {_MAX_CHAIN} certificates beside it, got none or more")
    try:
        return [x509.load_der_x509_certificate(base64.b64decode(text)) for text in texts]
    except (ValueError, TypeError):
        raise DeviceProtocolError("signature: expected certificates beside it, got something else") from None


def _may_issue(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _issued(certificate: x509.Certificate, by: x509.Certificate, now: datetime) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return _may_issue(by) and by.not_valid_before_utc <= now <= by.not_valid_after_utc
