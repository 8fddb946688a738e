"""Plug-ins by name: a folder's modules, and other distributions' entry points, loaded on first use.

A plug-in module defines one attribute (``DETECTOR``, ``EMBEDDER``, ``INDEX``, ``STORE``, …), the class. Names are
the modules' own with ``-`` for ``_``.
"""

import importlib
import pkgutil
from importlib.metadata import entry_points
from typing import Generic, TypeVar, cast

from biometrik.errors import PluginNotFoundError

T = TypeVar("T")


class Registry(Generic[T]):
    """The plug-ins of one kind.

    Parameters
    ----------
    package : str
        Dotted name of the folder that holds the built-in plug-ins, one a module.
    attribute : str
        The module attribute that holds the class.
    entry_point_group : str
        Entry-point group through which other distributions add theirs; a built-in name wins.
    extras : dict
        Plug-in name → extra of this distribution that brings what the plug-in imports.

    Examples
    --------
    >>> registry = Registry("biometrik.gallery.stores", "STORE", "biometrik.stores")
    >>> registry.names()
    ('memory', 'sqlite')
    """

    def __init__(
        self, package: str, attribute: str, entry_point_group: str, extras: dict[str, str] | None = None
    ) -> None:
        self._package = package
        self._attribute = attribute
        self._group = entry_point_group
        self._extras = extras or {}

    def names(self) -> tuple[str, ...]:
        """All plug-in names, sorted, without importing any of them."""
        return tuple(sorted(self._built_in() | {e.name for e in entry_points(group=self._group)}))

    def load(self, name: str) -> type[T]:
        """Import one plug-in and return its class.

        Raises
        ------
        PluginNotFoundError
            There is no plug-in of that name, or a package that it needs is not installed.
        """
        if name not in self.names():
            expected = ", ".join(self.names())
            raise PluginNotFoundError(f"{self._attribute.lower()}: expected one of {expected}, got {name!r}")
        try:
            if name in self._built_in():
                module = importlib.import_module(f"{self._package}.{name.replace('-', '_')}")
                return cast(type[T], getattr(module, self._attribute))
            return cast(type[T], next(iter(entry_points(group=self._group, name=name))).load())
        except ModuleNotFoundError as error:
            extra = self._extras.get(name)
            remedy = f"pip install 'biometrik[{extra}]'" if extra else f"install the package {error.name!r}"
            raise PluginNotFoundError(f"{self._attribute.lower()} {name}: needs {error.name!r}; {remedy}") from error

    def _built_in(self) -> set[str]:
        package = importlib.import_module(self._package)
        return {module.name.replace("_", "-") for module in pkgutil.iter_modules(package.__path__)}
