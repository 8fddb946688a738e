"""A vendor's device service for MOSIP's Secure Biometric Interface, with certificates of its own and signatures."""

import base64
import hashlib
import itertools
import json
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from numpy.typing import NDArray
from PIL import Image

from biometrik.fingers import FingerprintImage
from biometrik.formats import iso19794_4
from biometrik.formats.image_record import ImageRecord, ImageView

SERIAL = "RS0123456789"


class Signer:
    """A key with its certificate, and perhaps those above it.

    Parameters
    ----------
    name : str
        Of the owner.
    issuer : Signer or None
        None for a root.
    authority : bool
        Whether it may issue certificates.
    days : tuple of int
        In force from and to, counted from today.
    bits : int
        Of the key.
    """

    def __init__(
        self,
        name: str,
        issuer: "Signer | None" = None,
        *,
        authority: bool = False,
        days: tuple[int, int] = (-1, 30),
        bits: int = 2048,
    ) -> None:
        self.key = rsa.generate_private_key(65_537, bits)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        self.certificate: x509.Certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .sign(issuer.key if issuer else self.key, SHA256())
        )
        self.chain: list[x509.Certificate] = [self.certificate, *(issuer.chain if issuer else [])]

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    def token(self, payload: dict[str, Any], **header: Any) -> str:
        """Return a payload, signed (RFC 7515)."""
        x5c = [base64.b64encode(c.public_bytes(Encoding.DER)).decode() for c in self.chain]
        head = {"alg": "RS256", "typ": "JWT", "x5c": x5c} | header
        signed = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(payload).encode())}"
        return f"{signed}.{encoded(self.key.sign(signed.encode(), padding.PKCS1v15(), SHA256()))}"


def encoded(data: bytes) -> str:
    """Return base64url text without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@cache
def vendor() -> tuple[Signer, Signer]:
    """Return an authority and a device that it certified; keys take time, so once."""
    root = Signer("Test device authority", authority=True)
    return root, Signer("Test device", root)


class SbiEmulator:
    """Answers discovery, device information, registration capture and stream; a context manager.

    Parameters
    ----------
    frames : callable or None
        Index → (H, W, 3) uint8 RGB, of a face camera; None for a finger scanner.
    fps : float
        Frames a second.
    """

    def __init__(self, frames: Callable[[int], NDArray[np.uint8]] | None = None, fps: float = 50.0) -> None:
        self._frames, self._fps = frames, fps
        self.streams = True
        """False: the stream stays up and nothing comes."""
        self.ends_after: int | None = None
        """Frames after which the service ends a stream by itself."""
        self.alter_info: Callable[[dict[str, Any]], None] = lambda info: None
        """Changes what is signed of the device."""
        self.finger: FingerprintImage | None = None
        self.code = "0"
        """Error code of the next captures."""
        self.alter: Callable[[dict[str, Any]], None] = lambda payload: None
        """Changes what is signed."""
        self.forge: Callable[[dict[str, Any]], None] = lambda capture: None
        """Changes what was signed."""
        self.damage: Callable[[bytes], bytes] = lambda body: body
        """Changes the body of every answer, and each part of a stream."""
        self.status = "Ready"
        self.requests: list[dict[str, Any]] = []
        self.port = 0
        self._server: ThreadingHTTPServer | None = None
        self._connections: set[socket.socket] = set()

    def __enter__(self) -> "SbiEmulator":
        self.plug()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    def plug(self) -> None:
        """Start the service, at the port that it had before."""
        if self._server is not None:
            return
        emulator = self

        class Handler(BaseHTTPRequestHandler):
            def setup(self) -> None:
                super().setup()
                emulator._connections.add(self.connection)
                if emulator._server is None:
                    emulator._cut(self.connection)

            def finish(self) -> None:
                emulator._connections.discard(self.connection)
                super().finish()

            def log_message(self, *_: object) -> None: ...

            def do_MOSIPDISC(self) -> None:
                self._reply(emulator._discovery)

            def do_RCAPTURE(self) -> None:
                self._reply(emulator._capture)

            def do_MOSIPDINFO(self) -> None:
                self._reply(emulator._info)

            def do_STREAM(self) -> None:
                emulator.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                with suppress(OSError):  # nobody looks any more
                    emulator._stream(self.connection)
                self.close_connection = True

            def _reply(self, answer: Callable[[dict[str, Any]], Any]) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                body = emulator.damage(json.dumps(answer(request)).encode())
                try:
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True  # nobody waits any more

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        server.daemon_threads = False  # so that unplug() waits for the answers under way, as a killed service has none
        self._server, self.port = server, server.server_address[1]
        self._thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """Kill the service: its connections break."""
        server, self._server = self._server, None
        if server is None:
            return
        for connection in tuple(self._connections):
            self._cut(connection)
        server.shutdown()
        server.server_close()
        self._thread.join()

    @staticmethod
    def _cut(connection: socket.socket) -> None:
        with suppress(OSError):  # its other side was quicker
            connection.shutdown(socket.SHUT_RDWR)

    @property
    def _type(self) -> str:
        return "Finger" if self._frames is None else "Face"

    def _identity(self) -> dict[str, Any]:
        return {"serialNo": SERIAL, "make": "Test", "model": "One", "type": self._type, "deviceSubType": "Single"}

    def _discovery(self, request: dict[str, Any]) -> Any:
        if request["type"] not in (self._type, "Biometric Device"):
            return []
        return [
            {
                "deviceId": "7",
                "deviceStatus": self.status,
                "certification": "L0",
                "serviceVersion": "0.9.5",
                "deviceSubId": ["0"],
                "callbackId": f"http://127.0.0.1:{self.port}/",
                "digitalId": encoded(json.dumps(self._identity()).encode()),
                "specVersion": ["0.9.5"],
                "purpose": "Registration",
                "error": {"errorCode": "0", "errorInfo": "Success"},
            }
        ]

    def _info(self, request: dict[str, Any]) -> Any:
        _, device = vendor()
        info = {
            "deviceId": "7",
            "deviceStatus": self.status,
            "certification": "L0",
            "serviceVersion": "0.9.5",
            "deviceSubId": ["0"],
            "callbackId": f"http://127.0.0.1:{self.port}/",
            "digitalId": device.token(self._identity()),
            "specVersion": ["0.9.5"],
            "env": "Production",
            "purpose": "Registration",
        }
        self.alter_info(info)
        return [{"deviceInfo": device.token(info), "error": {"errorCode": "0", "errorInfo": "Success"}}]

    def _stream(self, viewer: socket.socket) -> None:
        viewer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=--BoundaryString\r\n\r\n")
        for index in itertools.count():
            if index == self.ends_after:
                return
            while True:
                time.sleep(1 / self._fps)
                if self._server is None or select.select([viewer], [], [], 0)[0]:
                    return  # unplugged, or nobody looks any more
                if self.streams:
                    break
            assert self._frames is not None
            jpeg = BytesIO()
            Image.fromarray(self._frames(index)).save(jpeg, "JPEG", quality=90)
            data = jpeg.getvalue()
            head = (
                "--BoundaryString\r\nAccess-Control-Allow-Origin:*\r\nContent-Type:image/jpeg\r\n"
                f"Content-Length:{len(data)}\r\n\r\n"
            )
            viewer.sendall(self.damage(head.encode() + data + b"\r\n"))

    def _capture(self, request: dict[str, Any]) -> Any:
        self.requests.append(request)
        bio = request["bio"][0]
        until = time.monotonic() + request["timeout"] / 1000
        while self.finger is None and time.monotonic() < until and self._server is not None:
            time.sleep(0.005)
        finger = self.finger
        if finger is None or self.code != "0":
            code = self.code if self.code != "0" else "101"
            return {
                "biometrics": [{"specVersion": "0.9.5", "data": "", "error": {"errorCode": code, "errorInfo": "x"}}]
            }
        record = iso19794_4.write(ImageRecord((ImageView.of(finger),)))
        _, device = vendor()
        payload = {
            "digitalId": device.token(self._identity()),
            "deviceServiceVersion": "0.9.5",
            "bioType": "Finger",
            "bioSubType": bio["bioSubType"][0],
            "purpose": request["purpose"],
            "env": request["env"],
            "bioValue": encoded(record),
            "transactionId": request["transactionId"],
            "timestamp": request["captureTime"],
            "requestedScore": bio["requestedScore"],
            "qualityScore": 71.0,
        }
        self.alter(payload)
        before = bytes.fromhex(bio["previousHash"])
        capture = {
            "specVersion": "0.9.5",
            "data": device.token(payload),
            "hash": hashlib.sha256(before + hashlib.sha256(record).digest()).hexdigest().upper(),
            "error": {"errorCode": "0", "errorInfo": "Success"},
        }
        self.forge(capture)
        return {"biometrics": [capture]}
