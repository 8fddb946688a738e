"""Plug-ins by name."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from biometrik.errors import PluginNotFoundError
from biometrik.registry import Registry


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    folder = tmp_path / "sample_plugins"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "two_words.py").write_text("class Two: pass\nPLUGIN = Two\n")
    (folder / "needy.py").write_text("import a_module_that_is_not_installed\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "sample_plugins"
    for name in [name for name in sys.modules if name.startswith("sample_plugins")]:
        del sys.modules[name]


def test_names_are_listed_without_importing(package: str) -> None:
    registry: Registry[object] = Registry(package, "PLUGIN", "biometrik.test_plugins")
    assert registry.names() == ("needy", "two-words")
    assert "sample_plugins.needy" not in sys.modules


def test_a_plug_in_is_loaded_by_name(package: str) -> None:
    registry: Registry[object] = Registry(package, "PLUGIN", "biometrik.test_plugins")
    assert registry.load("two-words").__name__ == "Two"


def test_an_unknown_name_lists_the_known_ones(package: str) -> None:
    registry: Registry[object] = Registry(package, "PLUGIN", "biometrik.test_plugins")
    with pytest.raises(PluginNotFoundError, match="expected one of needy, two-words, got 'none'"):
        registry.load("none")


@pytest.mark.parametrize(
    ("extras", "remedy"), [({"needy": "gpu"}, r"pip install 'biometrik\[gpu\]'"), ({}, "install the package")]
)
def test_a_missing_package_names_the_remedy(package: str, extras: dict[str, str], remedy: str) -> None:
    registry: Registry[object] = Registry(package, "PLUGIN", "biometrik.test_plugins", extras)
    with pytest.raises(PluginNotFoundError, match=remedy):
        registry.load("needy")
