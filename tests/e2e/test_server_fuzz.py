"""Whatever bytes come in, every answer is one that the contract knows, and the server stays as it was."""

import pytest

from biometrik.types import EnrollmentOutcome, FaceImage, Outcome
from biometrik_server.access import RPC_SCOPES
from tests.soak.message_fuzz import RequestFuzz, methods
from tests.soak.server_process import ServerProcess
from tests.soak.service import ALLOWED_GROWTH_BYTES, fuzz

SEED = 20_260
COUNT = 10_000
WARM_UP = 1_000


def test_the_same_seed_makes_the_same_requests() -> None:
    first, second, other = (RequestFuzz(seed, "m@1") for seed in (1, 1, 2))
    assert [first.request(i) for i in range(200)] == [second.request(i) for i in range(200)]
    assert first.request(0) != other.request(0)


def test_every_rpc_of_the_contract_is_asked() -> None:
    fuzzer = RequestFuzz(SEED, "m@1")
    ours = {rpc for rpc in RPC_SCOPES if rpc.startswith("/biometrik.v1.") and "/biometrik.v1.DeviceService/" not in rpc}
    assert {fuzzer.request(index).path for index in range(len(methods()))} == ours


@pytest.mark.slow
def test_hostile_requests_are_answered_and_change_nothing(server: ServerProcess, portrait: FaceImage) -> None:
    fuzzer = RequestFuzz(SEED, server.model_contract_id)
    first = fuzz(server.address, fuzzer, WARM_UP)
    held = server.memory_bytes(), server.thread_count(), server.descriptor_count()
    rest = fuzz(server.address, fuzzer, COUNT - WARM_UP, start=WARM_UP)
    assert first.failures + rest.failures == []
    # It is of no use if everything is refused at the door.
    assert rest.answers["OK"] > COUNT // 10
    assert len(rest.answers) >= 10
    assert all(event["level"] != "ERROR" for event in server.events())
    assert server.memory_bytes() < held[0] + ALLOWED_GROWTH_BYTES
    assert server.thread_count() <= held[1]
    assert server.descriptor_count() <= held[2] + 4
    with server.client() as client:
        assert client.enroll("after", [portrait]).outcome is EnrollmentOutcome.ENROLLED
        assert client.verify("after", [portrait]).outcome is Outcome.MATCH
