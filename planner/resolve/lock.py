"""The lock: which commit of each model a scenario was computed from, and what it stores.

`planner lock chat.yaml` writes `chat.lock.yaml` beside it; `planner.lock.yaml` serves every
scenario of its folder that has none of its own. Reading a lock never touches the network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from planner.documents import check_document, load_document
from planner.errors import InputProblems, OutsideFailure
from planner.resolve.hub import HubFile, Snapshot
from planner.resolve.records import (
    Record,
    check_digest,
    pinned_tensors,
    sealed,
    useful_config,
    write_yaml,
)

VERSION: Final = 1
SHARED_NAME: Final = "planner.lock.yaml"
ENDING: Final = ".lock.yaml"
HEADING: Final = (
    "Written by `planner lock`. Commit it; do not edit it: a changed record is refused.\n"
    "Docs: docs/locks.md"
)


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file: records of hub models by id, and hashes of the local files in use."""

    file: str
    models: Mapping[str, Record]
    local: Mapping[str, str]

    def __contains__(self, reference: object) -> bool:
        return isinstance(reference, str) and self.find(reference) is not None

    def find(self, reference: str) -> Record | None:
        """The record that `ID` or `ID@REVISION` means."""
        model, _, revision = reference.partition("@")
        record = self.models.get(model)
        if record is None or not revision:
            return record
        known = {record.get("revision"), record["pinned"]["requested_revision"]}
        return record if revision in known else None

    def check_local(self, path: Path, shown: str) -> None:
        """Refuse a local file that changed since it was locked; others pass.

        Raises:
            OutsideFailure: the lock has another hash of it.
        """
        locked = self.local.get(shown)
        if locked is not None and path.is_file() and file_sha256(path) != locked:
            raise OutsideFailure(
                f"{shown}: changed since {self.file} was written; run `planner lock` again"
            )


def file_sha256(path: Path) -> str:
    """SHA-256 of a small file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def lock_path(scenario: Path) -> Path:
    """The lock file of a scenario: its own, or its folder's where it has none of its own."""
    own = scenario.with_name(f"{scenario.stem}{ENDING}")
    shared = scenario.with_name(SHARED_NAME)
    return shared if shared.is_file() and not own.is_file() else own


def read_lock(path: Path) -> Lock:
    """Read and check a lock file.

    Raises:
        OutsideFailure: missing, broken, of another version, or a record was changed.
    """
    try:
        document = load_document(path)
        problems = [*document.problems, *check_document(document, "lock")]
    except InputProblems as error:
        problems = list(error.problems)
    if problems:
        raise OutsideFailure(f"{problems[0]}; run `planner lock` again to mend the lock")
    models = {}
    for record in document.data["models"]:
        check_digest(record, str(path))
        models[record["id"]] = record
    local = {row["path"]: row["sha256"] for row in document.data.get("local") or ()}
    return Lock(str(path), models, local)


def write_lock(
    path: Path, records: Iterable[Record], local: Mapping[str, str] | None = None
) -> None:
    """Write a lock file at once, entries by id.

    Raises:
        OutsideFailure: it can't be written.
    """
    data: dict[str, Any] = {
        "version": VERSION,
        "models": sorted(records, key=lambda record: str(record["id"])),
    }
    if local:
        data["local"] = [{"path": name, "sha256": local[name]} for name in sorted(local)]
    write_yaml(path, data, HEADING)


def record_of_snapshot(snapshot: Snapshot, on: date) -> Record:
    """What is kept of a model that was read from the hub on a day."""
    pinned: dict[str, Any] = {
        "requested_revision": snapshot.requested_revision,
        "date": on.isoformat(),
        "files": {name: _file_row(file) for name, file in sorted(_used_files(snapshot).items())},
    }
    if snapshot.stored is not None:
        pinned |= pinned_tensors(snapshot.stored)
    quant = snapshot.hf_quant_config
    return sealed(
        {
            "id": snapshot.model,
            "revision": snapshot.revision,
            "config": useful_config(snapshot.config),
            **({"hf_quant_config": dict(quant)} if quant is not None else {}),
            "pinned": pinned,
        }
    )


def _used_files(snapshot: Snapshot) -> dict[str, HubFile]:
    stored = snapshot.stored.files if snapshot.stored is not None else {}
    return {
        name: file
        for name, file in snapshot.files.items()
        if name in stored
        or name in ("config.json", "hf_quant_config.json")
        or name.endswith(".safetensors.index.json")
    }


def _file_row(file: HubFile) -> dict[str, Any]:
    row: dict[str, Any] = {"size_bytes": file.size_bytes or 0}
    if file.sha256:
        row["sha256"] = file.sha256
    elif file.git_oid:
        row["git_oid"] = file.git_oid
    return row
