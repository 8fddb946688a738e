"""The two clients: the engine's own signatures, and a service that is not there or does not answer."""

import asyncio
import inspect
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from biometrik.client import AsyncClient, Client, Connection
from biometrik.engine import Engine
from biometrik.errors import BiometrikError, ServiceTimeoutError, ServiceUnavailableError
from biometrik.samples import UnreadableSample

#: What only makes sense in process.
_IN_PROCESS = {
    *("open", "close", "prepare", "events", "foreign_templates", "same_finger", "draw_pairs", "export_encounters"),
    *("model_contract_id", "contract_id", "calibration", "scale", "duplicates", "count_encounters"),
    *("snapshot", "keep_snapshot", "quarantined"),
}
_DECIDING = {"compare", "verify", "verify_any", "verify_encounter", "identify", "identify_stored"}


def _methods(kind: type) -> dict[str, Callable[..., Any]]:
    return {name: value for name, value in vars(kind).items() if inspect.isfunction(value) and name[0] != "_"}


def _parameters(method: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values()]


def test_clients_have_the_methods_of_the_engine_with_its_parameters_and_defaults() -> None:
    engine, client = _methods(Engine), _methods(Client)
    assert set(engine) - _IN_PROCESS <= set(client)
    for name in set(engine) - _IN_PROCESS:
        theirs = [parameter for parameter in _parameters(client[name]) if parameter[0] != "policy"]
        # How samples came to be taken is what a session tells the engine; the client does not.
        ours = [parameter for parameter in _parameters(engine[name]) if parameter[0] != "history"]
        assert theirs == ours, name
        assert ("policy" in inspect.signature(client[name]).parameters) is (name in _DECIDING)


def test_the_two_clients_are_twins() -> None:
    one, other = _methods(Client), _methods(AsyncClient)
    asked = {"calibration", "calibrations"}  # properties of the one
    assert set(one) - asked == set(other) - asked
    for name in set(one) & set(other):
        assert _parameters(one[name]) == _parameters(other[name]), name
        assert inspect.iscoroutinefunction(other[name]) or inspect.isasyncgenfunction(other[name]), name


def _synchronous(connection: Connection, method: str, *arguments: object) -> object:
    with Client(connection) as client:
        return getattr(client, method)(*arguments)


def _asynchronous(connection: Connection, method: str, *arguments: object) -> object:
    async def work() -> object:
        async with AsyncClient(connection) as client:
            return await getattr(client, method)(*arguments)

    return asyncio.run(work())


both = pytest.mark.parametrize("ask", [_synchronous, _asynchronous], ids=["client", "async"])
Ask = Callable[..., object]


@pytest.fixture
def silent() -> Iterator[str]:
    """Return the address of something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def nobody() -> str:
    """Return an address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"127.0.0.1:{port}"


@both
def test_a_service_that_is_not_there_is_said_to_be_so(ask: Ask, nobody: str) -> None:
    with pytest.raises(ServiceUnavailableError, match=f"service at {nobody}.*is it running"):
        ask(Connection(nobody, timeout_s=20), "subjects")


@both
def test_a_service_that_does_not_answer_runs_into_the_deadline(ask: Ask, silent: str) -> None:
    with pytest.raises(BiometrikError) as caught:
        ask(Connection(silent, timeout_s=0.3), "subjects")
    assert type(caught.value) is ServiceTimeoutError


def test_a_stream_has_a_deadline_of_its_own(silent: str) -> None:
    people = ((str(number), [UnreadableSample("x", b"1")]) for number in range(1_000_000))
    with (
        Client(silent) as client,
        pytest.raises(ServiceTimeoutError, match=r"within 0\.3 s"),
    ):
        list(client.identify_many(people, timeout_s=0.3))


@both
def test_waiting_for_a_service_ends(ask: Ask, nobody: str) -> None:
    with pytest.raises(ServiceTimeoutError, match=r"within 0\.2 s.*does TLS fit"):
        ask(Connection(nobody), "wait_until_ready", 0.2)
