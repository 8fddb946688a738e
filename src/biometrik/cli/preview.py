"""The live preview: a page on this machine that shows the subject what the camera sees, with one word of guidance.

::

    Preview.show ──▶ the newest moment ◀── GET /TOKEN/now?after=N ◀── the page, GET /TOKEN/

Nothing is kept: there is one picture, the newest, in memory, and none between attempts.
"""

import hmac
import secrets
import threading
import time
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, quote, urlsplit

from biometrik.errors import InvalidInputError

_HOST: Final = "127.0.0.1"
#: Longer side of the pictures, pixels: enough for half a screen, and a third of what is sent of a 720p camera.
SIDE_PX: Final = 480
#: For so long a request waits for something new, seconds; shorter than browsers wait for an answer.
_WAIT_S: Final = 5.0
#: A connection that says nothing for so long is closed, seconds.
_IDLE_S: Final = 10.0
#: How soon its end is noticed, seconds.
_POLL_S: Final = 0.1
#: Connections at a time: a browser opens a few for a page, and there is one page.
_MAX_CONNECTIONS: Final = 8


@dataclass(frozen=True, slots=True)
class _Shown:
    number: int
    jpeg: bytes = b""
    word: str = ""
    good: bool = False


class Preview:
    """The page; use it as a context manager, which ends it.

    Whoever has the address, which holds a secret, can look on; other web pages cannot, nor other machines.

    Parameters
    ----------
    port : int
        Of 127.0.0.1; 0 for a free one.

    Raises
    ------
    InvalidInputError
        The port cannot be listened on.
    """

    def __init__(self, port: int) -> None:
        self._changed = threading.Condition()
        self._shown = _Shown(0)
        self._ended = False
        self.token: Final = secrets.token_urlsafe(24)
        try:
            self._server = _Server((_HOST, port), partial(_Handler, self))
        except (OSError, OverflowError) as error:
            raise InvalidInputError(f"preview: expected a free port of {_HOST}, got {port} ({error}); try 0") from None
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), name="preview", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._shown, self._ended = _Shown(self._shown.number + 1), True
            self._changed.notify_all()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a browser may call this machine; any other name is that of a page which tries to look on."""
        port = self._server.server_address[1]
        return f"{_HOST}:{port}", f"localhost:{port}"

    @property
    def url(self) -> str:
        """Where the page is; holds the secret."""
        return f"http://{self.hosts[0]}/{self.token}/"

    def show(self, jpeg: bytes, word: str, *, good: bool = False) -> None:
        """Show a picture, b"" for none, with a word, "" for none, and whether all is well."""
        with self._changed:
            self._shown = _Shown(self._shown.number + 1, jpeg, word, good)
            self._changed.notify_all()

    def clear(self) -> None:
        """Show nothing."""
        self.show(b"", "")

    def after(self, number: int, wait_s: float = _WAIT_S) -> _Shown | None:
        """Return what is shown as soon as it is not what had this number; None where nothing new comes in time."""
        until = time.monotonic() + wait_s
        with self._changed:
            while self._shown.number == number and not self._ended:
                if not self._changed.wait(until - time.monotonic()):
                    return None
            return self._shown


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = _MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        self._free = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a browser that goes away is no fault, and the address holds a secret."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _IDLE_S

    def __init__(self, preview: Preview, *connection: Any) -> None:
        self._preview = preview
        super().__init__(*connection)

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        _, _, rest = asked.path.partition("/")
        token, slash, page = rest.partition("/")
        if self.headers.get("Host") not in self._preview.hosts or not self._same_origin():
            self._answer(HTTPStatus.FORBIDDEN)
        elif not slash or not hmac.compare_digest(token.encode(), self._preview.token.encode()):
            self._answer(HTTPStatus.NOT_FOUND)
        elif page == "":
            nonce = secrets.token_urlsafe(16)
            text = resources.files("biometrik.cli").joinpath("preview.html").read_text("utf-8")
            policy = (
                "default-src 'none'; connect-src 'self'; img-src blob:; base-uri 'none'; form-action 'none';"
                f" frame-ancestors 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'"
            )
            self._answer(
                HTTPStatus.OK,
                text.replace("NONCE", nonce).encode(),
                {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy},
            )
        elif page == "now":
            self._now(parse_qs(asked.query).get("after", ["0"])[0])
        else:
            self._answer(HTTPStatus.NOT_FOUND)

    def _now(self, after: str) -> None:
        if not (after.isascii() and after.isdigit() and len(after) <= 15):
            self._answer(HTTPStatus.BAD_REQUEST)
        elif (shown := self._preview.after(int(after))) is None:
            self._answer(HTTPStatus.NO_CONTENT)
        else:
            facts = {"X-Number": str(shown.number), "X-Word": quote(shown.word), "X-Good": str(int(shown.good))}
            self._answer(HTTPStatus.OK, shown.jpeg, {"Content-Type": "image/jpeg", **facts})

    def _same_origin(self) -> bool:
        # Browsers say where a request comes from; a link that is typed in comes from nowhere.
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site", "none")
        return site in ("none", "same-origin") and (
            origin is None or origin in [f"http://{host}" for host in self._preview.hosts]
        )

    def _answer(self, status: HTTPStatus, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        fixed = {
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        for name, value in {**fixed, **(headers or {})}.items():
            self.send_header(name, value)
        if status is not HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the address holds a secret."""
