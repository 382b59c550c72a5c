"""Names: from what people type to the id of a catalog entry.

`H100`, `rtx 4090`, `NVIDIA A100-SXM4-80GB` and `q4_k_m` all lead to one entry or to an error that
lists the candidates. Case, spaces and punctuation don't matter, nor does a maker's name in front.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from planner.errors import EXIT_INPUT, PlannerError, Problem, did_you_mean, quoted_list

if TYPE_CHECKING:
    from planner.catalog.load import Catalog
    from planner.documents import Document

_SINGULAR: Final = {
    "gpus": "GPU",
    "formats": "weight format",
    "optimizers": "optimizer",
    "engines": "engine",
    "frameworks": "framework",
    "models": "model",
}
_MAKERS: Final = frozenset(
    {"nvidia", "amd", "intel", "google", "aws", "tesla", "geforce", "instinct", "radeon"}
)


class NameProblem(PlannerError):
    """A name that means no entry of the catalog, or several.

    Attributes:
        kind, name: what was looked up. code: `unknown-gpu`, `ambiguous-gpu`, ... candidates: ids.
        message, hint: what went wrong and the way out, as a Problem says it.
    """

    exit_code = EXIT_INPUT

    def __init__(self, kind: str, name: str, candidates: Iterable[str], hint: str) -> None:
        self.kind = kind
        self.name = name
        self.candidates = tuple(candidates)
        self.hint = hint
        thing = _SINGULAR.get(kind, kind)
        self.code = f"{'ambiguous' if self.candidates else 'unknown'}-{kind.removesuffix('s')}"
        self.message = (
            f"'{name}' may mean several {thing}s"
            if self.candidates
            else f"'{name}' is not a known {thing}"
        )
        super().__init__(f"{self.message}; {hint}" if hint else self.message)

    def problem(self, document: Document, path: tuple[str | int, ...]) -> Problem:
        """The same as a problem at a place in a document."""
        return document.problem(path, self.code, self.message, self.hint)


def squash(name: str) -> str:
    """A name without case and punctuation: `RTX 4090` and `rtx-4090` become `rtx4090`."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def _words(name: str) -> frozenset[str]:
    """The words of a name, in no order, numbers kept with their unit: `80GB`, `sxm`, `h100`."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"(\d)\s+(gb|g)\b", r"\1gb", name.casefold()))
    return frozenset(word for word in words if word not in _MAKERS)


def _without_maker(name: str) -> str:
    words = name.split()
    while len(words) > 1 and words[0].casefold() in _MAKERS:
        words = words[1:]
    return " ".join(words)


@dataclass(slots=True)
class NameIndex:
    """Every name of one catalog kind. Names of several entries are ambiguous, never a guess."""

    kind: str
    ids: dict[str, str] = field(default_factory=dict)
    exact: dict[str, set[str]] = field(default_factory=dict)
    squashed: dict[str, set[str]] = field(default_factory=dict)
    words: dict[frozenset[str], set[str]] = field(default_factory=dict)
    shared: dict[str, list[str]] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in an entry with its `id`, `name`, `title`, `aliases` and `shared_names`."""
        entry = str(row["id"])
        self.ids[squash(entry)] = entry
        self.exact.setdefault(entry.casefold(), set()).add(entry)
        names = [entry, *row.get("aliases", ())]
        names += [row[key] for key in ("name", "title") if key in row]
        self.shown += [entry, *row.get("aliases", ())]
        shared = {squash(_without_maker(name)) for name in row.get("shared_names", ())}
        for name in shared:
            self.shared.setdefault(name, []).append(entry)
        for name in names:
            for form in (name, _without_maker(name)):
                if squash(form) not in shared:
                    self.squashed.setdefault(squash(form), set()).add(entry)
            self.words.setdefault(_words(name), set()).add(entry)

    def resolve(self, name: str) -> str:
        """The id that a name means.

        Raises:
            NameProblem: no entry, or several, answer to the name.
        """
        exact = self.exact.get(name.casefold())
        if exact and len(exact) == 1:
            return next(iter(exact))
        bare = squash(_without_maker(name))
        found = self.shared.get(squash(name)) or self.shared.get(bare)
        if found is None:
            if squash(name) in self.ids:
                return self.ids[squash(name)]
            found = sorted(self.squashed.get(squash(name)) or self.squashed.get(bare) or ())
        if not found:
            found = sorted(self.words.get(_words(name)) or ()) if _words(name) else []
        if len(found) == 1:
            return found[0]
        if found:
            raise NameProblem(self.kind, name, found, f"write {quoted_list(found)}")
        raise NameProblem(self.kind, name, (), self._nearest(name))

    def _nearest(self, name: str) -> str:
        counted = re.fullmatch(r"(.+):\d+", name.strip()) if self.kind == "gpus" else None
        if counted and squash(counted[1]) in self.squashed:
            return f"write '{self.resolve(counted[1])}'; how many goes into gpu_counts"
        parts = [entry for entry in self.ids.values() if squash(name) in squash(entry)]
        if squash(name) and 0 < len(parts) <= 6:
            return f"did you mean {quoted_list(parts)}?"
        hint = did_you_mean(name, self.shown, limit=3)
        command = "formats" if self.kind == "formats" else self.kind
        if self.kind == "models":
            hint = hint or "see 'planner models list'"
            fetch = "'planner models add ID' or 'planner lock SCENARIO' reads it from the hub"
            return f"{hint}; {fetch}" if "/" in name else hint
        return hint or f"see 'planner {command} list'"


def resolve_name(kind: str, name: str, catalog: Catalog | None = None) -> str:
    """The id of a catalog entry by id, alias or vendor name, in any case and punctuation.

    Args:
        kind: gpus, formats, optimizers, engines, frameworks or models.
        name: what was typed.
        catalog: the shipped one by default; give the scenario's own where it adds rows.

    Raises:
        NameProblem: the name is unknown (with the nearest) or ambiguous (with the candidates).
    """
    if catalog is None:
        from planner.catalog.load import load_catalog

        catalog = load_catalog()
    return catalog.resolve(kind, name)
