"""What a search for duplicates within a gallery has found so far, and the file from which it goes on."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from biometrik.cli.files import write
from biometrik.duplicates import DuplicatePage, DuplicatePair, pair_from
from biometrik.errors import InvalidInputError

_FORMAT: Final = 1
#: A state holds the best pairs only, of some hundred bytes each: a larger file is none.
_MAX_STATE_BYTES: Final = 1 << 28


@dataclass(slots=True)
class Survey:
    """The best pairs so far, and how far the search is.

    Parameters
    ----------
    asked : dict
        What is searched, by which models, down to which FMR: what one file goes on with.
    most : int
        Pairs that are kept, the best.
    after : int
        The last encounter that was looked at.
    found, faces, prints, passed_over, compared, exact
        Sums over all pages; see :class:`biometrik.duplicates.DuplicatePage`. ``found`` counts pairs that are not kept,
        too, and those with prints once for each side that names them.
    """

    asked: dict[str, Any]
    most: int
    after: int = 0
    found: int = 0
    faces: int = 0
    prints: int = 0
    passed_over: int = 0
    compared: int = 0
    exact: bool = True
    _pairs: dict[frozenset[str], DuplicatePair] = field(default_factory=dict)

    @property
    def searched(self) -> int:
        """Encounters that were looked for."""
        return self.faces + self.prints

    @property
    def pairs(self) -> list[DuplicatePair]:
        """The best, the best first."""
        ranked = sorted(self._pairs.values(), key=lambda pair: (*(-x for x in pair.likeness), pair.encounter_ids))
        return ranked[: self.most]

    def take(self, page: DuplicatePage) -> None:
        """Add what a page found."""
        self.after = page.last
        self.found += len(page.pairs)
        self.faces += page.faces
        self.prints += page.prints
        self.passed_over += page.passed_over
        self.compared += page.compared
        self.exact = self.exact and page.exact
        for pair in page.pairs:
            self._keep(pair)
        if len(self._pairs) > 2 * self.most:
            self._pairs = {frozenset(pair.encounter_ids): pair for pair in self.pairs}

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all, for its owner alone; raises InvalidInputError where it cannot be."""
        sums = {name: getattr(self, name) for name in _SUMS}
        rows = [_plain(pair) for pair in self.pairs]
        state = {"format": _FORMAT, "command": "dedupe state", "asked": self.asked, **sums, "pairs": rows}
        write(path, json.dumps(state).encode(), force=True)

    @classmethod
    def load(cls, path: Path, asked: dict[str, Any], most: int) -> Self:
        """Return what the file holds; an empty survey where there is no file.

        Raises
        ------
        InvalidInputError
            It is no such file, or one of another search.
        """
        survey = cls(asked, most)
        if not path.exists():
            return survey
        try:
            if not path.is_file() or path.stat().st_size > _MAX_STATE_BYTES:
                raise ValueError("no state")
            state = json.loads(path.read_bytes())
            held = state["asked"]
            if state["format"] != _FORMAT or state["command"] != "dedupe state" or not isinstance(held, dict):
                raise ValueError("no state")
            for name in _SUMS:
                if type(state[name]) is not (bool if name == "exact" else int) or state[name] < 0:
                    raise ValueError(name)
                setattr(survey, name, state[name])
            for row in state["pairs"]:
                survey._keep(pair_from(row))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise InvalidInputError(
                f"{path}: expected the state of a search for duplicates, got something else; name another file, or"
                " remove it to begin again"
            ) from None
        if different := [name for name in asked if held.get(name) != asked[name]]:
            raise InvalidInputError(
                f"{path}: expected the state of this search, got one with another {', '.join(different)}; name another"
                " file, or remove it to begin again"
            )
        return survey

    def _keep(self, pair: DuplicatePair) -> None:
        known = self._pairs.setdefault(frozenset(pair.encounter_ids), pair)
        if pair.likeness > known.likeness:
            self._pairs[frozenset(pair.encounter_ids)] = pair


_SUMS: Final = ("after", "found", "faces", "prints", "passed_over", "compared", "exact")


def _plain(pair: DuplicatePair) -> dict[str, object]:
    components = [
        {**asdict(row), "trait": {"modality": row.trait.modality.value, "position": row.trait.position}}
        for row in pair.components
    ]
    return {**asdict(pair), "components": components}
