"""The HTTP side of MOSIP's Secure Biometric Interface: requests with its own verbs, to this machine only."""

import http.client
import json
import select
import socket
import time
from typing import Any, Final

from biometrik.errors import InvalidInputError
from biometrik_hardware.deadline import Deadline
from biometrik_hardware.errors import DeviceGoneError, DeviceProtocolError

_MAX_BYTES: Final = 32 << 20
_LOOK_S: Final = 0.02
#: Longest silence within an answer, seconds.
_SILENCE_S: Final = 2.0
HOST: Final = "127.0.0.1"


class SbiService:
    """A device service.

    The interface is plain HTTP, so images would pass a network unprotected: it is asked on the loopback only, as the
    specification demands.

    Parameters
    ----------
    port : int
        1..65535; the specification's are 4501 to 4600.

    Raises
    ------
    InvalidInputError
        Not a port.
    """

    def __init__(self, port: int) -> None:
        if not 1 <= port <= 65_535:
            raise InvalidInputError(f"port: expected 1..65535, got {port}")
        self.port = port

    def ask(self, verb: str, path: str, request: dict[str, Any], deadline: Deadline) -> Any:
        """Return the JSON that a request is answered with.

        Parameters
        ----------
        verb, path : str
            Of the request.
        request : dict
            Its body.
        deadline : Deadline
            Its end, or an interruption, closes the connection.

        Raises
        ------
        TimeoutError
            The deadline is over.
        DeviceGoneError
            No service listens there, or it breaks off.
        DeviceProtocolError
            The answer is not HTTP, not JSON, or too long.
        """
        patience_s = max(0.001, min(deadline.remaining_s, _SILENCE_S))
        connection = http.client.HTTPConnection(HOST, self.port, timeout=patience_s)
        try:
            connection.request(verb, path, json.dumps(request), {"Content-Type": "application/json"})
            while not select.select([connection.sock], [], [], 0)[0]:
                if not deadline.wait(_LOOK_S):
                    raise TimeoutError
            with connection.getresponse() as response:
                body = _body(response, deadline)
        except (TimeoutError, http.client.IncompleteRead):
            if deadline.over:
                raise TimeoutError from None
            raise DeviceGoneError(f"port {self.port}: expected a whole answer, got one that stops") from None
        except OSError as error:  # also a service that hangs up
            raise DeviceGoneError(f"port {self.port}: expected a device service, got none; start it") from error
        except (http.client.HTTPException, ValueError) as error:
            raise DeviceProtocolError(f"port {self.port}: expected an answer over HTTP, got another") from error
        finally:
            connection.close()
        if response.status != 200:
            raise DeviceProtocolError(f"port {self.port}: expected status 200, got {response.status}")
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise DeviceProtocolError(f"port {self.port}: expected JSON, got something else") from error


def _body(response: http.client.HTTPResponse, deadline: Deadline) -> bytes:
    body = bytearray()
    while chunk := response.read1(1 << 16):
        body += chunk
        if deadline.over:
            raise TimeoutError
        if len(body) > _MAX_BYTES:
            raise http.client.HTTPException
    return bytes(body)


def answers(port: int, deadline: Deadline) -> bool:
    """Return whether something listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(max(0.001, min(deadline.remaining_s, 0.05)))
        return probe.connect_ex((HOST, port)) == 0


def now() -> str:
    """Return the time as the interface writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
