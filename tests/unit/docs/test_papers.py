"""The papers for operators and integrators name what the code has: settings, metrics, scopes, errors."""

import configparser
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import grpc
import pytest
from typer.testing import CliRunner

from biometrik.cli import app
from biometrik.cli.counter import Choice
from biometrik.cli.options import Service
from biometrik.client.connection import DEFAULT_TIMEOUT_S, Connection
from biometrik.errors import BiometrikError
from biometrik.gallery.schema import SCHEMA
from biometrik.manifest import Distribution, manifest
from biometrik.types import EnrollmentOutcome, MissingReason, Outcome
from biometrik_server.access import RPC_SCOPES, Scope
from biometrik_server.config import ServerConfig
from biometrik_server.metrics import Metrics
from biometrik_server.status import failure_of

ROOT: Final = Path(__file__).resolve().parents[3]
DOCS: Final = ROOT / "docs"
OPERATIONS: Final = (DOCS / "operations" / "README.md").read_text("utf-8")
INTEGRATION: Final = (DOCS / "integration.md").read_text("utf-8")
COMPATIBILITY: Final = (DOCS / "compatibility.md").read_text("utf-8")
PAPERS: Final = (DOCS / "integration.md", DOCS / "compatibility.md", DOCS / "operations" / "README.md")


def errors(kind: type[BiometrikError] = BiometrikError) -> Iterator[type[BiometrikError]]:
    """Yield every error class of the library."""
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == BiometrikError.__module__:
            yield from errors(below)


def test_the_paper_on_stations_names_the_commands_own_options_answers_and_reasons() -> None:
    paper = (DOCS / "station.md").read_text("utf-8")
    shown = CliRunner().invoke(app, ["station", "enroll", "--help"], env={"COLUMNS": "200"}).output
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", paper)) - {"--database"}  # of biometrik serve
    assert len(options) > 8
    assert [option for option in options if option not in shown] == []
    assert {row[0].strip("`") for row in rows(paper)} >= {choice.value for choice in Choice}
    for reason in MissingReason:
        assert reason.value.lower() in paper
    (program,) = re.findall(r"```python\n(.*?)```", paper, re.DOTALL)
    exec("\n".join(line for line in program.splitlines() if line.startswith("from ")), {})


def rows(text: str) -> list[list[str]]:
    """Return the cells of every table's rows."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_unit_waits_longer_than_the_server_and_runs_what_is_there() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.read_string((DOCS / "operations" / "biometrik.service").read_text("utf-8"))
    service = unit["Service"]
    assert float(service["TimeoutStopSec"]) > ServerConfig(database="x").grace_s
    assert "-m biometrik_server --config /etc/biometrik/server.toml" in service["ExecStart"]
    container = (DOCS / "operations" / "Containerfile").read_text("utf-8")
    assert '"-m", "biometrik_server", "--config", "/etc/biometrik/server.toml"' in container


def test_what_the_container_is_built_of_exists() -> None:
    container = (DOCS / "operations" / "Containerfile").read_text("utf-8")
    copied = [line.split()[1:-1] for line in container.splitlines() if re.match(r"COPY (?!--from)", line)]
    names = [name for line in copied for name in line]
    assert len(names) > 5
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_packages_that_carry_weights_are_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    required = {re.split(r"[^\w-]", requirement)[0] for requirement in project["dependencies"]}
    carriers = {entry.place.name for entry in manifest().weights if isinstance(entry.place, Distribution)}
    container = (DOCS / "operations" / "Containerfile").read_text("utf-8")
    assert carriers & required
    for name in carriers - required:
        assert re.search(rf"pip install .* {name}$", container, re.MULTILINE)
        assert re.search(rf"pip install .* {name}$", OPERATIONS, re.MULTILINE)


def test_every_metric_is_explained_with_its_labels() -> None:
    explained = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in rows(OPERATIONS) if len(row) == 4}
    suffix = {"counter": "_total", "info": "_info"}
    for family in Metrics().registry.collect():
        assert f"{family.name}{suffix.get(family.type, '')}" in explained
    assert explained["biometrik_requests_total"] == {"rpc", "code", "reason"}
    assert explained["biometrik_outcomes_total"] == {"rpc", "outcome"}


@pytest.mark.parametrize("kind", tuple(errors()), ids=lambda kind: kind.__name__)
def test_every_reason_is_in_the_row_of_its_code(kind: type[BiometrikError]) -> None:
    error = kind.__new__(kind)
    error.tightest = 0.5  # type: ignore[attr-defined]  # of one class; the others do not look
    code: grpc.StatusCode = failure_of(error).code
    found = [row[0] for row in rows(INTEGRATION) if re.search(rf"\b{kind.reason}\b", row[1])]
    assert code.name in found


def test_no_row_names_a_reason_that_nothing_has() -> None:
    known = {kind.reason for kind in errors()}
    codes = {code.name for code in grpc.StatusCode}
    named = {word for row in rows(INTEGRATION) if row[0] in codes for word in re.findall(r"\b[A-Z_]{4,}\b", row[1])}
    assert len(named) > 20
    assert named <= known


def test_every_outcome_has_its_row() -> None:
    named = {row[0] for row in rows(INTEGRATION)}
    assert {outcome.value for kind in (Outcome, EnrollmentOutcome) for outcome in kind} <= named


def test_every_scope_allows_what_its_row_says() -> None:
    said = {scope: row[1] for row in rows(OPERATIONS) for scope in re.findall(r"`([a-z.]+)`", row[0]) if len(row) == 2}
    for scope in Scope:
        allowed = {
            rpc.rpartition("/")[2]
            for rpc, scopes in RPC_SCOPES.items()
            if scope in scopes and scopes != frozenset(Scope)
        }
        assert set(re.findall(r"\b[A-Z]\w+", said[scope.value])) == allowed


def test_the_schema_version_is_the_one_in_force() -> None:
    assert f"schema version in the file, now {SCHEMA.version} " in COMPATIBILITY
    assert f"| {SCHEMA.version} |" in COMPATIBILITY


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.name)
def test_links_lead_somewhere(paper: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", paper.read_text("utf-8"))
    assert links
    for link in links:
        file, _, anchor = link.partition("#")
        target = (paper.parent / file).resolve() if file else paper
        assert target.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}, link


def test_the_usual_deadline_is_one_in_the_client_the_command_the_paper_and_the_example() -> None:
    (said,) = re.findall(r"The client's usual\s+deadline of (\d+) s", INTEGRATION)
    (example,) = re.findall(
        r"options\.timeout \?\? (\d+)", (ROOT / "examples" / "node" / "verify.js").read_text("utf-8")
    )
    assert float(said) == float(example) == Service().timeout == Connection("x").timeout_s == DEFAULT_TIMEOUT_S


def test_compiled_kernels_are_kept_where_the_server_can_write() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.read_string((DOCS / "operations" / "biometrik.service").read_text("utf-8"))
    assert "memorydenywriteexecute" not in unit["Service"]  # they are machine code, made at run time
    assert unit["Service"]["Environment"] == f"NUMBA_CACHE_DIR=/var/cache/{unit['Service']['CacheDirectory']}/numba"
    container = (DOCS / "operations" / "Containerfile").read_text("utf-8")
    (volume,) = re.findall(r"^VOLUME (\S+)$", container, re.MULTILINE)
    assert f"\nENV NUMBA_CACHE_DIR={volume}/numba\n" in container
