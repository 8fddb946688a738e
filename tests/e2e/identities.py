"""Certificates of the tests: an authority and what it vouches for."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its key, on disk as PEM.

    Parameters
    ----------
    name : str
        Common name; also of the files.
    folder : Path
        Where they are.
    key : EllipticCurvePrivateKey
        Signs what it issues.
    certificate : Certificate
        Of the key.
    """

    name: str
    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def authority(cls, name: str, folder: Path) -> Self:
        """Return one that signs itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        return cls._write(name, folder, key, _builder(name, name, key, authority=True).sign(key, hashes.SHA256()))

    def issue(self, name: str) -> "Identity":
        """Return one that this authority vouches for, for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, self.name, key, authority=False)
        return self._write(name, self.folder, key, builder.sign(self.key, hashes.SHA256()))

    @property
    def pem(self) -> Path:
        """File of the certificate."""
        return self.folder / f"{self.name}.pem"

    @property
    def key_pem(self) -> Path:
        """File of the key."""
        return self.folder / f"{self.name}.key"

    @classmethod
    def _write(cls, name: str, folder: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> Self:
        made = cls(name, folder, key, certificate)
        made.pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        made.key_pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return made


def _builder(name: str, issuer: str, key: ec.EllipticCurvePrivateKey, *, authority: bool) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    )
    return builder if authority else builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
