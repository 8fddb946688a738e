"""The live preview: whoever has its address looks on, nobody else, and nothing of it stays."""

import http.client
import socket
import threading
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import pytest

from biometrik.cli.preview import _MAX_CONNECTIONS, Preview
from biometrik.errors import InvalidInputError

PICTURE = b"\xff\xd8 a picture \xff\xd9"


@pytest.fixture
def preview() -> Iterator[Preview]:
    with Preview(0) as page:
        yield page


def get(
    preview: Preview, page: str = "", *, token: str | None = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(preview.hosts[0], timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", f"/{preview.token if token is None else token}/{page}", headers=named)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_the_page_needs_nothing_from_elsewhere_and_runs_no_other_script(preview: Preview) -> None:
    answer, body = get(preview)
    assert urlsplit(preview.url).hostname == "127.0.0.1"
    assert answer.status == 200
    policy = answer.headers["Content-Security-Policy"]
    nonce = policy.partition("script-src 'nonce-")[2].partition("'")[0]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert body.count(f'nonce="{nonce}"'.encode()) == body.count(b"<script") + body.count(b"<style") == 2
    assert b"http:" not in body
    assert b"https:" not in body
    assert answer.headers["Cache-Control"] == "no-store"
    assert nonce not in get(preview)[0].headers["Content-Security-Policy"]


def test_a_moment_is_shown_with_its_word_in_any_language(preview: Preview) -> None:
    preview.show(PICTURE, "Hadap ke kamera — ça va", good=True)
    answer, body = get(preview, "now?after=0")
    assert (answer.status, body, answer.headers["X-Number"], answer.headers["X-Good"]) == (200, PICTURE, "1", "1")
    assert unquote(answer.headers["X-Word"]) == "Hadap ke kamera — ça va"


def test_a_page_that_waits_is_told_what_is_new(preview: Preview) -> None:
    found: list[bytes] = []
    waiting = threading.Thread(target=lambda: found.append(get(preview, "now?after=0")[1]))
    waiting.start()
    preview.show(PICTURE, "Come closer")
    waiting.join(10)
    assert found == [PICTURE]
    assert preview.after(1, wait_s=0.01) is None


def test_only_the_newest_is_there_and_nothing_after_an_attempt(preview: Preview) -> None:
    preview.show(PICTURE, "Come closer")
    preview.show(b"\xff\xd8 another \xff\xd9", "Stand still")
    assert get(preview, "now?after=0")[1] == b"\xff\xd8 another \xff\xd9"
    preview.clear()
    answer, body = get(preview, "now?after=2")
    assert (body, answer.headers["X-Word"]) == (b"", "")


@pytest.mark.parametrize("token", ["", "x", "%C3%A9"])
def test_without_the_secret_there_is_nothing(preview: Preview, token: str) -> None:
    preview.show(PICTURE, "Come closer")
    for page in ("", "now?after=0"):
        answer, body = get(preview, page, token=token)
        assert (answer.status, body) == (404, b"")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_another_page_sees_nothing_even_if_it_has_the_address(preview: Preview, headers: dict[str, str]) -> None:
    preview.show(PICTURE, "Come closer")
    answer, body = get(preview, "now?after=0", **headers)
    assert (answer.status, body) == (403, b"")


def test_the_pages_own_requests_are_answered(preview: Preview) -> None:
    preview.show(PICTURE, "Come closer")
    own = {"Origin": f"http://{preview.hosts[1]}", "Sec_Fetch_Site": "same-origin", "Host": preview.hosts[1]}
    assert get(preview, "now?after=0", **own)[0].status == 200


@pytest.mark.parametrize("page", ["now?after=-1", "now?after=x", "now?after=%C2%B2", "now?after=" + "9" * 20, "other"])
def test_what_makes_no_sense_is_refused(preview: Preview, page: str) -> None:
    assert get(preview, page)[0].status in (400, 404)


def test_nothing_is_written_to_the_terminal(preview: Preview, capfd: pytest.CaptureFixture[str]) -> None:
    get(preview)
    get(preview, token="wrong")
    host, _, port = preview.hosts[0].partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(b"\x16\x03\x01 not HTTP\r\n\r\n")
        raw.recv(1000)
    assert capfd.readouterr() == ("", "")


def test_connections_that_are_over_make_room_for_others(preview: Preview) -> None:
    assert [get(preview)[0].status for _ in range(2 * _MAX_CONNECTIONS)] == [200] * (2 * _MAX_CONNECTIONS)


def test_the_address_ends_in_a_slash_because_the_page_asks_beside_itself(preview: Preview) -> None:
    connection = http.client.HTTPConnection(preview.hosts[0], timeout=10)
    connection.request("GET", f"/{preview.token}")
    assert connection.getresponse().status == 404
    connection.close()


def test_no_more_connections_are_held_than_a_browser_needs(preview: Preview) -> None:
    host, _, port = preview.hosts[0].partition(":")
    held = [socket.create_connection((host, int(port)), timeout=10) for _ in range(_MAX_CONNECTIONS)]
    with socket.create_connection((host, int(port)), timeout=10) as more:
        assert more.recv(1) == b""
    for each in held:
        each.close()


def test_a_port_that_is_taken_is_refused_and_freed_at_the_end(preview: Preview) -> None:
    port = int(preview.hosts[0].partition(":")[2])
    with pytest.raises(InvalidInputError, match="preview: expected a free port"):
        Preview(port)
    with Preview(0) as other:
        freed = other.hosts[0]
    host, _, number = freed.partition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(number)), timeout=1)
