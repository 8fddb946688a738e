"""Two thousand damaged records a format: a value or a typed error, and little memory; see ``tests/soak/formats.py``."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biometrik.errors import RecordFormatError
from biometrik.formats import iso19794_2
from tests.soak import formats as soak

TARGETS = soak.targets()
#: One draw an example keeps 24,000 of them fast: five octets an edit, see :func:`edits_of`.
SCRIPTS = st.binary(min_size=5, max_size=20)


def edits_of(script: bytes) -> list[soak.Edit]:
    parts = [script[at : at + 5] for at in range(0, len(script) - 4, 5)]
    return [
        soak.Edit(int.from_bytes(part[:2], "big"), part[2] % 9, part[3 : 3 + part[4] % 3], 200 if part[4] > 250 else 1)
        for part in parts
    ]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@settings(max_examples=2000, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(script=SCRIPTS)
def test_a_damaged_record_is_read_or_refused(target: soak.Target, script: bytes) -> None:
    assert soak.failure_of(target, soak.applied(target.sample, edits_of(script))) is None


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_prefix_of_a_record_is_a_surprise_or_expensive(target: soak.Target) -> None:
    for length in range(0, len(target.sample), 3):
        assert soak.failure_of(target, target.sample[:length], measure=True) is None


def test_random_mutations_of_the_soak_find_nothing() -> None:
    assert soak.run(3000, seed=1) == []


def test_the_soak_reports_an_exception_a_hoard_and_nothing_else() -> None:
    def raises(data: bytes, strict: bool) -> object:
        raise IndexError("beyond")

    def hoards(data: bytes, strict: bool) -> object:
        return bytearray(3 << 20)

    def refuses(data: bytes, strict: bool) -> object:
        raise RecordFormatError("record: expected …, got …")

    broken = soak.failure_of(soak.Target("x", b"", raises), b"")
    greedy = soak.failure_of(soak.Target("x", b"", hoards), b"", measure=True)
    assert broken is not None
    assert "IndexError" in broken.what
    assert greedy is not None
    assert "allocated" in greedy.what
    assert soak.failure_of(soak.Target("x", b"", refuses), b"", measure=True) is None


def test_the_largest_records_stay_within_the_allowance() -> None:
    by_name = {target.name: target for target in TARGETS}
    head = b"FMR\x00030\0" + bytes([0, 0x10, 0, 0, 0, 255, 0])
    view = by_name["ISO/IEC 19794-2:2011"].sample[15:]
    tiny = (b"FMR\0 20\0" + bytes([0, 0x10, 0, 0, 0, 0, 1, 0, 1, 0, 0, 197, 0, 197, 255, 0])).ljust(1 << 20, b"\0")
    full_view = bytes([1, 0, 50, 255]) + bytes([0x40, 9, 0, 9, 64, 50]) * 255 + bytes(2)
    full = b"FMR\0 20\0" + (24 + 255 * len(full_view)).to_bytes(4, "big") + tiny[12:24] + full_view * 255
    assert len(iso19794_2.read(full).views) == 255
    for name, data in (
        ("ISO/IEC 19794-2:2005", full),
        ("inspect", full),
        ("ISO/IEC 19794-2:2011", (head + view * 3000)[: 1 << 20]),
        ("ISO/IEC 19794-2:2005", tiny),
        ("inspect", tiny),
        ("CBEFF, XML", b"<BIR>" + b"<BIR><BDB>AA==</BDB></BIR>" * 30_000),
        ("CBEFF, XML", b"<BIR>" + b"<others><entry key='k'>v</entry></others>" * 20_000),
        ("CBEFF, XML", b"<a " + b" ".join(b"a%d='x'" % i for i in range(50_000)) + b"/>"),
    ):
        assert soak.failure_of(by_name[name], data, measure=True) is None, (name, len(data))
