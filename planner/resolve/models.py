"""A model reference becomes facts: by a file at hand, the lock, the user's records or the catalog.

Nothing here touches the network: an id that none of these know is an error with both ways on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from planner.catalog.load import Catalog
from planner.catalog.names import NameProblem
from planner.errors import (
    InputProblems,
    OutsideFailure,
    PlannerError,
    Problem,
    did_you_mean,
    quoted_list,
)
from planner.resolve.checkpoint import CONFIG_FILE, load_json, read_checkpoint
from planner.resolve.facts import ModelFacts
from planner.resolve.lock import Lock
from planner.resolve.records import Record, check_digest, facts_of_record

RECORDS_FOLDER: Final = "models"
GGUF_ENDING: Final = ".gguf"
FETCH_HINT: Final = (
    "to read it from the hub: `planner models add ID` keeps it in models/, `planner lock SCENARIO`"
    " beside the scenario"
)


class UnknownModel(PlannerError):
    """A reference that is no model the planner knows.

    Attributes:
        message, hint: as a Problem says it. candidates: ids that may be meant.
    """

    def __init__(self, reference: str, message: str, hint: str, candidates: Iterable[str]) -> None:
        self.reference, self.message, self.hint = reference, message, hint
        self.candidates = tuple(candidates)
        super().__init__(f"{message}; {hint}" if hint else message)


def resolve_model(
    reference: str,
    *,
    config: Path | None = None,
    catalog: Catalog,
    lock: Lock | None = None,
    base: Path = Path(),
    include_mtp: bool = False,
    assume_like: str | None = None,
) -> ModelFacts:
    """Facts of the model that a scenario or a command names.

    Args:
        reference: catalog id or alias, `ID[@REVISION]` of the lock or of a record in `models/`, or
            the path of a config.json, a checkpoint folder or a GGUF file.
        config: such a path for a model that is named freely.
        catalog: the shipped one, with a scenario's own records where it has some.
        lock: what `planner lock` pinned; it goes before the catalog.
        base: the folder that paths are relative to.
        include_mtp: count multi-token-prediction layers.
        assume_like: read a config of unknown type as this known type.

    Raises:
        UnknownModel: none of these know the reference.
        InputProblems, PlannerError: a file can't be read as a model.
        OutsideFailure: a record or file does not match its hash.
    """
    options: dict[str, Any] = {"include_mtp": include_mtp, "assume_like": assume_like}
    if config is not None:
        if lock is not None:
            whole = base / config
            file = config / CONFIG_FILE if whole.is_dir() else config
            lock.check_local(base / file, _relative(file, base))
        return facts_of_path(base / config, model=reference, **options)
    bits = _Bits(catalog)
    locked = lock.find(reference) if lock is not None else None
    if locked is not None and lock is not None:
        source = f"{locked['id']}@{locked['revision'][:12]} by {Path(lock.file).name}"
        return facts_of_record(locked, source=source, bits_by_format=bits, **options)
    own = find_record(reference, base)
    if own is not None:
        record, path = own
        return facts_of_record(record, source=str(path), bits_by_format=bits, **options)
    try:
        model = catalog.resolve("models", reference.partition("@")[0])
    except NameProblem as error:
        if looks_like_path(reference, base):
            return facts_of_path(base / reference, model=None, **options)
        raise _unknown(reference, error, catalog) from None
    if "@" in reference:
        message = f"'{reference}' names a revision, which the catalog does not hold"
        raise UnknownModel(reference, message, FETCH_HINT, [model])
    record = catalog.models()[model]
    check_digest(record, "catalog")
    return facts_of_record(record, source=catalog_source(record), bits_by_format=bits, **options)


class _Bits(Mapping[str, float]):
    """Bits per parameter by weight format, read from the catalog when first asked for."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._bits: dict[str, float] | None = None

    def _table(self) -> dict[str, float]:
        if self._bits is None:
            frame = self._catalog.formats.select("weight_format", "bits_per_parameter")
            self._bits = dict(frame.iter_rows())
        return self._bits

    def __getitem__(self, name: str) -> float:
        return self._table()[name]

    def __iter__(self) -> Any:
        return iter(self._table())

    def __len__(self) -> int:
        return len(self._table())


def _relative(path: Path, base: Path) -> str:
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)


def _unknown(reference: str, error: NameProblem, catalog: Catalog) -> UnknownModel:
    if error.candidates:
        hint = f"write {quoted_list(error.candidates)}"
        return UnknownModel(reference, error.message, hint, error.candidates)
    near = did_you_mean(reference, catalog.models(), limit=3)
    return UnknownModel(
        reference,
        f"'{reference}' is not a known model",
        f"{near} Or {FETCH_HINT}" if near else FETCH_HINT,
        (),
    )


def catalog_source(record: Mapping[str, Any]) -> str:
    """Where a catalog record's config was read, in a line."""
    source = record.get("source") or {}
    parts = [f"{source['repository']}" if "repository" in source else "catalog"]
    if "commit" in source:
        parts.append(f"at {str(source['commit'])[:12]}")
    if "confidence" in record:
        parts.append(f"(confidence {record['confidence']})")
    return f"catalog: config.json from {' '.join(parts)}" if source else "catalog"


def published_parameters(model: str, catalog: Catalog) -> dict[str, int]:
    """Parameter counts of a catalog model by other public sources."""
    if model not in catalog.models():
        return {}
    check = catalog.models()[model].get("check") or {}
    return {str(check["source"]): int(check["parameters"])} if check else {}


def looks_like_path(reference: str, base: Path) -> bool:
    """Whether a reference means a file or folder rather than an id."""
    if reference.startswith(("./", "../", "/", "~")) or reference.endswith((".json", GGUF_ENDING)):
        return True
    return (base / reference / "config.json").is_file()


def facts_of_path(
    path: Path,
    *,
    model: str | None,
    include_mtp: bool = False,
    assume_like: str | None = None,
) -> ModelFacts:
    """Facts of a config.json, a checkpoint folder, a GGUF file or a record of `models add`.

    Raises:
        InputProblems: missing, or not readable as any of these.
        ConfigProblem, UnknownModelType: the config can't be read as a model.
    """
    path = path.expanduser()
    if path.is_dir():
        files = sorted(path.glob(f"*{GGUF_ENDING}"))
        if not (path / "config.json").exists() and len(files) >= 1:
            path = files[0]
        else:
            return read_checkpoint(
                path, model=model, include_mtp=include_mtp, assume_like=assume_like
            )
    if path.suffix == GGUF_ENDING:
        from planner.resolve.gguf_facts import read_gguf_model

        return read_gguf_model(path, model=model, include_mtp=include_mtp)
    if path.suffix in (".yaml", ".yml"):
        record = read_record(path)
        if model is not None:
            record = {**record, "id": model}
        return facts_of_record(
            record, source=str(path), include_mtp=include_mtp, assume_like=assume_like
        )
    return facts_of_record(
        config_record(path, model),
        source=str(path),
        include_mtp=include_mtp,
        assume_like=assume_like,
    )


def config_record(path: Path, model: str | None) -> Record:
    """A record of a config.json alone (and of the hf_quant_config.json beside it).

    Raises:
        InputProblems: it can't be read.
    """
    named = path.resolve().parent.name if path.stem == "config" else path.stem
    record: Record = {"id": model or named, "config": load_json(path)}
    quant = path.with_name("hf_quant_config.json")
    if path.name == "config.json" and quant.is_file():
        record["hf_quant_config"] = load_json(quant)
    return record


def record_file_name(model: str) -> str:
    """`acme/support-12b` -> `acme--support-12b.yaml`."""
    return f"{model.replace('/', '--')}.yaml"


def record_folders(base: Path) -> list[Path]:
    """Where the user's own records may lie: beside the scenario, above it, where we are."""
    folders = [base / RECORDS_FOLDER, base / ".." / RECORDS_FOLDER, Path(RECORDS_FOLDER)]
    return list({folder.resolve(): folder for folder in folders}.values())


def find_record(reference: str, base: Path) -> tuple[Record, Path] | None:
    """The user's own record of a model, with its file.

    Raises:
        InputProblems: it is there but can't be read. OutsideFailure: it was changed.
    """
    model, _, revision = reference.partition("@")
    if not model or ".." in model or model.startswith(("/", ".", "~")):
        return None
    for folder in record_folders(base):
        path = folder / record_file_name(model)
        if path.is_file():
            record = read_record(path)
            pinned = record.get("pinned") or {}
            if not revision or revision in (
                record.get("revision"),
                pinned.get("requested_revision"),
            ):
                return record, path
    return None


def own_records(base: Path) -> list[tuple[Record, Path]]:
    """Every record in the user's folders, by file name; the nearest of each id."""
    found: dict[str, tuple[Record, Path]] = {}
    for folder in record_folders(base):
        for path in sorted(folder.glob("*.yaml")):
            record = read_record(path)
            found.setdefault(record["id"], (record, path))
    return list(found.values())


def read_record(path: Path) -> Record:
    """One model record of the user's.

    Raises:
        InputProblems: not a model record. OutsideFailure: changed after it was written.
    """
    from planner.catalog.read import read_rows

    rows = read_rows(path, "models")
    if len(rows) != 1:
        problem = Problem(str(path), 0, 0, "bad-record", "", f"holds {len(rows)} models, not one")
        raise InputProblems([problem])
    check_digest(rows[0], str(path))
    return rows[0]


__all__ = [
    "OutsideFailure",
    "UnknownModel",
    "facts_of_path",
    "find_record",
    "own_records",
    "published_parameters",
    "read_record",
    "record_file_name",
    "resolve_model",
]
