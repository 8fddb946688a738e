"""Logs: one line of JSON each, with places of errors and never their messages."""

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from biometrik_server import logs


def _line(record: logging.LogRecord) -> dict[str, Any]:
    text = logs.JsonFormatter().format(record)
    assert "\n" not in text
    row: dict[str, Any] = json.loads(text)
    return row


def _record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    return logging.getLogger("biometrik.demo").makeRecord(
        "biometrik.demo", logging.INFO, __file__, 1, message, args, None, extra=extra or None
    )


def test_a_record_is_one_line_with_its_fields() -> None:
    row = _line(_record("call %s", "done", fields={"rpc": "Verify", "ms": 1.5, "path": object}))
    assert row["event"] == "call done"
    assert (row["level"], row["logger"], row["rpc"], row["ms"]) == ("INFO", "biometrik.demo", "Verify", 1.5)
    assert row["time"].endswith("+00:00")


def test_newlines_in_values_do_not_break_the_line() -> None:
    assert _line(_record("a\nb", fields={"client": "x\ny"}))["client"] == "x\ny"


def test_an_exception_gives_type_and_place_and_not_its_message() -> None:
    try:
        raise KeyError("subject 3174-secret")
    except KeyError:
        record = _record("unexpected error")
        record.exc_info = sys.exc_info()
    text = logs.JsonFormatter().format(record)
    row = json.loads(text)
    assert row["exception"] == "KeyError"
    assert any("test_an_exception_gives_type_and_place" in place for place in row["at"])
    assert "3174" not in text


@pytest.fixture
def _root_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, faiss = root.handlers[:], root.level, logging.getLogger("faiss").level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("faiss").setLevel(faiss)


@pytest.mark.usefixtures("_root_as_before")
def test_configured_logs_go_to_standard_error_from_the_level_on(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("WARNING")
    logging.getLogger("biometrik.demo").info("quiet")
    logging.getLogger("biometrik.demo").warning("loud")
    out, err = capsys.readouterr()
    assert out == ""
    assert [json.loads(line)["event"] for line in err.splitlines()] == ["loud"]
