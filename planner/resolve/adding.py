"""New model records: from the hub or from files, checked before they are written."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

from planner.errors import InputProblems, Problem
from planner.resolve.checkpoint import CONFIG_FILE, checkpoint_record
from planner.resolve.facts import ModelFacts
from planner.resolve.lock import file_sha256, record_of_snapshot
from planner.resolve.models import config_record, record_file_name
from planner.resolve.records import (
    Record,
    facts_of_record,
    facts_to_mapping,
    sealed,
    useful_config,
    write_yaml,
)

HEADING = "Written by `planner models add`. A changed record is refused: add it again instead."
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")


def record_from_hub(reference: str, on: date) -> Record:
    """The record of `ID[@REVISION]`, read from the hub.

    Raises:
        InputProblems: not the form of an id. OutsideFailure: the hub can't give it.
    """
    from planner.resolve import hub

    model, revision = hub.split_reference(reference)
    return record_of_snapshot(hub.fetch(model, revision), on)


def record_from_file(path: Path, name: str | None, on: date) -> Record:
    """The record of a config.json, a checkpoint folder or a GGUF file.

    Raises:
        InputProblems: it can't be read, or its name is no model id.
    """
    gguf = path.suffix == ".gguf"
    if gguf:
        record = _gguf_record(path, name)
    elif path.is_dir():
        record = checkpoint_record(path, model=name)
        path = path / CONFIG_FILE
    else:
        record = config_record(path, name)
    if not _ID.fullmatch(str(record["id"])):
        message = f"'{record['id']}' is no model id"
        problem = Problem(str(path), 0, 0, "bad-model-id", "", message, "give --id OWNER/NAME")
        raise InputProblems([problem])
    pinned = dict(record.get("pinned") or {})
    files = dict(pinned.pop("files", {}))
    if not gguf:
        files[path.name] = {"size_bytes": path.stat().st_size, "sha256": file_sha256(path)}
    record["config"] = useful_config(record["config"])
    record["pinned"] = {
        "requested_revision": "local",
        "date": on.isoformat(),
        "files": dict(sorted(files.items())),
        **pinned,
    }
    return record


def _gguf_record(path: Path, name: str | None) -> Record:
    from planner.resolve.gguf import read_gguf
    from planner.resolve.gguf_facts import read_gguf_model

    facts = read_gguf_model(path, model=name)
    stored = read_gguf(path).stored
    return {
        "id": facts.model,
        "config": {"model_type": facts.model_type},
        "facts": facts_to_mapping(facts),
        "pinned": {
            "files": {file: {"size_bytes": size} for file, size in stored.files.items()},
            "basis": stored.basis,
            "stored_bytes": facts.stored_bytes,
        },
    }


def save(
    record: Record, into: Path, *, derive: bool = False, assume_like: str | None = None
) -> tuple[Path, ModelFacts]:
    """Check that the record makes facts, then write it; its file and its facts.

    Raises:
        ConfigProblem, UnknownModelType: the config can't be read as a model.
        OutsideFailure: the extra for `derive` is missing, or the folder can't be written to.
    """
    if assume_like:
        record["assume_like"] = assume_like
    if derive:
        record["facts"] = facts_to_mapping(_derived(record))
    path = into / record_file_name(record["id"])
    facts = facts_of_record(record, source=str(path))
    plain: dict[str, Any] = dict(record)
    write_yaml(path, sealed(plain), HEADING)
    return path, facts


def _derived(record: Record) -> ModelFacts:
    from planner.resolve.derive import derive_facts

    return derive_facts(record["config"], model=record["id"], source="derived")
