"""The one loader of the catalogs: lazy by kind, layered with a scenario's own rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import polars as pl

from planner.catalog import frames
from planner.catalog.names import NameIndex, NameProblem
from planner.catalog.read import SCHEMAS, Path_, Row, read_rows, read_source
from planner.catalog.support import support_frame
from planner.documents import Document, check_document
from planner.errors import InputProblems, Problem

DATA: Final = Path(__file__).resolve().parent / "data"
KINDS: Final = tuple(SCHEMAS)
_OFFER_KEY: Final = ("provider", "instance_type", "region", "gpu", "purchase")


def catalog_files(kind: str) -> list[Path]:
    """The shipped files of one kind: `data/<kind>.yaml`, or every file of `data/<kind>/`.

    Prices (kind `offers`) are the CSV files of `data/prices/`.
    """
    if kind == "offers":
        return sorted((DATA / "prices").glob("*.csv"))
    single = DATA / f"{kind}.yaml"
    return [single] if single.is_file() else sorted((DATA / kind).glob("*.yaml"))


def catalog_rows(name: str, schema: str | None = None) -> list[Row]:
    """Rows of a shipped catalog, in file order.

    A file is a list of entries, one entry, or a mapping whose key `name` holds the list.

    Args:
        name: gpus, offers, formats, optimizers, engines, frameworks, models, or the stem of
            another file in the data folder.
        schema: check against `schemas/<schema>.schema.json`. Shipped files are checked by the
            tests, so the planner itself leaves this out.

    Raises:
        InputProblems: a file is not well-formed or breaks the schema.
    """
    rows: list[Row] = []
    for path in catalog_files(name):
        shown = f"{name}/{path.name}"
        document = (
            read_source(path, "offers", shown_as=shown)
            if path.suffix == ".csv"
            else read_source(path, name, shown_as=shown)
        )
        problems = [*document.problems, *(check_document(document, schema) if schema else [])]
        if problems:
            raise InputProblems(problems)
        rows += _rows_of(document.data, name)
    return rows


def _rows_of(data: Any, name: str) -> list[Row]:
    if isinstance(data, list):
        return data
    if isinstance(data, dict) and isinstance(data.get(name), list):
        listed: list[Row] = data[name]
        return listed
    return [data]


@dataclass(frozen=True, eq=False)
class Catalog:
    """Facts about hardware, prices, formats, optimizers, engines and models.

    Every frame is read when it is first asked for. `added` holds a user's own rows by kind; see
    `with_rows`.
    """

    added: Mapping[str, tuple[Row, ...]] = field(default_factory=lambda: MappingProxyType({}))
    _names: dict[str, NameIndex] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def gpus(self) -> pl.DataFrame:
        """One row an accelerator: `frames.GPU_SCHEMA`."""
        return frames.gpus_frame(self.rows("gpus"), _shipped("usable_memory"))

    @cached_property
    def format_support(self) -> pl.DataFrame:
        """gpu, weight_format, support (native, emulated, unsupported), reason: every pair."""
        return support_frame(self.rows("gpus"), self.rows("formats"), _shipped("format_support"))

    @cached_property
    def gpu_formats(self) -> pl.DataFrame:
        """The supported pairs of `format_support` only."""
        return self.format_support.filter(pl.col("support") != "unsupported")

    @cached_property
    def offers(self) -> pl.DataFrame:
        """One row a price: `frames.OFFER_SCHEMA`. A user's row replaces the shipped one."""
        return frames.offers_frame(self.rows("offers"))

    @cached_property
    def formats(self) -> pl.DataFrame:
        """One row a weight format: `frames.FORMAT_SCHEMA`."""
        return frames.formats_frame(self.rows("formats"), _shipped("format_support"))

    @cached_property
    def optimizers(self) -> pl.DataFrame:
        """One row an optimizer."""
        return self.table("optimizers")

    @cached_property
    def engines(self) -> pl.DataFrame:
        """One row an engine profile."""
        return self.table("engines")

    def table(self, kind: str) -> pl.DataFrame:
        """The rows of a kind as a frame; gpus, offers and formats in their own schemas."""
        if kind in ("gpus", "offers", "formats"):
            frame: pl.DataFrame = getattr(self, kind)
            return frame
        return pl.DataFrame(self.rows(kind), infer_schema_length=None, strict=False)

    def models(self) -> Mapping[str, Row]:
        """id -> record of every model: id, aliases, source, confidence, check, config."""
        return Models(self.added.get("models", ()))

    def rows(self, kind: str) -> list[Row]:
        """Plain rows of one kind: the shipped ones, then the added ones.

        An added offer replaces the shipped one of the same provider, instance type, region, GPU
        and way of buying.
        """
        own = self.added.get(kind, ())
        if kind == "models":
            return list(self.models().values())
        shipped = _shipped(kind)
        if kind == "offers" and own:
            replaced = {_offer_key(row) for row in own}
            shipped = [row for row in shipped if _offer_key(row) not in replaced]
        return [*shipped, *own]

    def sellers(self) -> dict[str, str]:
        """Every provider of the price catalog by its name in lower case: `AWS` is aws."""
        return {row["provider"].casefold(): row["provider"] for row in self.rows("offers")}

    def with_source(self, kind: str, source: Document | Path, *, at: Path_ = ()) -> Catalog:
        """A catalog with the rows of a user's file, or of a part of a document, on top.

        Raises:
            InputProblems: every mistake in it, with its place (see `read.read_rows`).
            OutsideFailure: the file is there but the system refuses to read it.
        """
        rows = read_rows(source, kind, at=at, catalog=self)
        return self._with(kind, rows)

    def _with(self, kind: str, rows: Iterable[Row]) -> Catalog:
        return Catalog(MappingProxyType({**self.added, kind: (*self.added.get(kind, ()), *rows)}))

    def with_rows(self, kind: str, rows: Iterable[Row]) -> Catalog:
        """A catalog with a user's rows on top: facts must be new, prices may replace.

        Prefer `with_source`, whose errors name the line.

        Args:
            kind: gpus, offers, formats, models, optimizers, engines or frameworks.
            rows: as `read.read_rows` returns them. Offers may name their GPU as people do.

        Raises:
            InputProblems: an id is in the catalog already.
            NameProblem: an offer names an unknown or ambiguous GPU.
        """
        fresh = [dict(row) for row in rows]
        if kind == "offers":
            for row in fresh:
                row["gpu"] = self.resolve("gpus", row["gpu"])
        elif kind != "engines":
            problems = [
                Problem(kind, 0, 0, "duplicate-id", "", f"'{row['id']}' is in the catalog already")
                for row in fresh
                if self.has(kind, row["id"])
            ]
            if problems:
                raise InputProblems(problems)
        return self._with(kind, fresh)

    def has(self, kind: str, entry: str) -> bool:
        """Whether an id is in the catalog, exactly so."""
        if kind == "models":
            return entry in self.models()
        return any(_id(row) == entry for row in self.rows(kind))

    def resolve(self, kind: str, name: str) -> str:
        """The id that a name means (`names.resolve_name`).

        Raises:
            NameProblem: unknown or ambiguous.
        """
        if kind == "models":
            return self._resolve_model(name)
        return self._index(kind).resolve(name)

    def find(self, kind: str, name: str) -> str | None:
        """The same, None where the name is unknown or ambiguous."""
        try:
            return self.resolve(kind, name)
        except NameProblem:
            return None

    def _resolve_model(self, name: str) -> str:
        known = self.models()
        if name in known:
            return name
        # Ids are in the file names; aliases need every file read, so they come second.
        if "model-ids" not in self._names:
            index = NameIndex("models")
            for entry in known:
                index.add({"id": entry, "aliases": [entry.rpartition("/")[2]]})
            self._names["model-ids"] = index
        try:
            return self._names["model-ids"].resolve(name)
        except NameProblem as problem:
            if problem.candidates:
                raise
        return self._index("models").resolve(name)

    def _index(self, kind: str) -> NameIndex:
        if kind not in self._names:
            index = NameIndex(kind)
            for row in self.rows(kind):
                aliases = list(row.get("aliases", ()))
                if kind == "models":  # without the owner, too
                    aliases += [name.rpartition("/")[2] for name in (_id(row), *aliases)]
                index.add({**row, "id": _id(row), "aliases": aliases})
            self._names[kind] = index
        return self._names[kind]


class Models(Mapping[str, Row]):
    """Model records by id: the shipped files, read one by one when asked for, and added rows."""

    def __init__(self, added: Iterable[Row] = ()) -> None:
        self._added = {row["id"]: row for row in added}

    def __getitem__(self, model: str) -> Row:
        if model in self._added:
            return self._added[model]
        if model not in _model_files():
            raise KeyError(model)
        return _model_record(model)

    def __iter__(self) -> Iterator[str]:
        return iter([*_model_files(), *self._added])

    def __len__(self) -> int:
        return len(_model_files()) + len(self._added)

    def __contains__(self, model: object) -> bool:
        return model in self._added or model in _model_files()


def _id(row: Row) -> str:
    return str(row.get("id", row.get("engine")))


def _offer_key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in _OFFER_KEY)


@cache
def _model_files() -> dict[str, Path]:
    files = sorted((DATA / "models").glob("*.yaml"), key=lambda path: path.name.casefold())
    return {path.stem.replace("--", "/", 1): path for path in files}


@cache
def _model_record(model: str) -> Row:
    path = _model_files()[model]
    document = read_source(path, "models", shown_as=f"models/{path.name}")
    if document.problems:
        raise InputProblems(document.problems)
    record: Row = document.data
    return record


@cache
def _shipped(name: str) -> list[Row]:
    return catalog_rows(name)


@cache
def load_catalog() -> Catalog:
    """The shipped catalog. Nothing is read before it is asked for."""
    return Catalog()
