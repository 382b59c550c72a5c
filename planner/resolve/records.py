"""Model records: the files that `models add` writes and the entries of a lock.

A record is what the catalog holds of a model (`schemas/model.schema.json`): its config, and under
`pinned` what was read from a hub or a file at hand: commit, file hashes, date, and each kind of
tensor that its files store. `record_sha256` covers all of it, so that an edit does not go unseen.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Final

from planner.errors import OutsideFailure
from planner.resolve.checkpoint import with_stored
from planner.resolve.facts import Layer, ModelFacts, QuantizedModules, Tensor
from planner.resolve.headers import Stored, TensorGroup

Record = dict[str, Any]
DIGEST: Final = "record_sha256"
_LEFT_OUT: Final = frozenset(
    {
        "_name_or_path",
        "auto_map",
        "custom_pipelines",
        "id2label",
        "label2id",
        "task_specific_params",
        "tokenizer_class",
        "transformers_version",
    }
)
_PLAIN_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_./{}*-]*( [A-Za-z0-9_./-]+)*")
_YAML_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def useful_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without what says nothing about sizes, and without numbers that are none."""
    return {
        key: _finite(value)
        for key, value in config.items()
        if key not in _LEFT_OUT and not key.endswith(("_token_id", "_token_ids"))
    }


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def digest(record: Mapping[str, Any]) -> str:
    """SHA-256 over everything in a record but the digest itself."""
    content = {key: value for key, value in record.items() if key != DIGEST}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(record: Record) -> Record:
    """The record with its digest at the end."""
    plain = {key: value for key, value in record.items() if key != DIGEST}
    return {**plain, DIGEST: digest(plain)}


def check_digest(record: Mapping[str, Any], file: str) -> None:
    """Refuse a record that was changed after it was written.

    Raises:
        OutsideFailure: its content does not match its digest.
    """
    written = record.get(DIGEST)
    if written is not None and written != digest(record):
        raise OutsideFailure(
            f"{file}: the record of '{record.get('id')}' does not match its {DIGEST}: it was"
            " changed after it was written; run the command that wrote it again"
        )


def tensor_rows(groups: Sequence[TensorGroup]) -> list[dict[str, Any]]:
    """Tensor groups as rows of a record; consecutive layers as `0-31`."""
    return [
        {
            "name": group.pattern,
            "dtype": group.dtype,
            "shape": list(group.shape),
            **({"layers": _ranges(group.layers)} if group.layers else {}),
            **({"copies": group.copies} if group.copies != 1 else {}),
            "tensor_bytes": group.tensor_bytes,
        }
        for group in groups
    ]


def pinned_tensors(stored: Stored) -> dict[str, Any]:
    """What a record keeps of the headers."""
    return {
        "basis": stored.basis,
        "stored_bytes": stored.total_bytes,
        "bytes_by_dtype": stored.bytes_by_dtype(),
        "tensors": tensor_rows(stored.groups()),
    }


def groups_of(rows: Sequence[Mapping[str, Any]]) -> tuple[TensorGroup, ...]:
    """The reverse of `tensor_rows`."""
    return tuple(
        TensorGroup(
            row["name"],
            row["dtype"],
            tuple(row["shape"]),
            _numbers(row["layers"]) if "layers" in row else (),
            row.get("copies", 1),
            row["tensor_bytes"],
        )
        for row in rows
    )


def _ranges(numbers: Sequence[int]) -> str:
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def _numbers(text: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for part in str(text).split(","):
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return tuple(numbers)


def facts_of_record(
    record: Mapping[str, Any],
    *,
    source: str,
    include_mtp: bool = False,
    assume_like: str | None = None,
    bits_by_format: Mapping[str, float] | None = None,
) -> ModelFacts:
    """Facts of a record: of its own facts where it has them, else of its config.

    Raises:
        ConfigProblem, UnknownModelType: the config can't be read as a model.
    """
    from planner.resolve.arch import read_config

    if record.get("facts"):
        facts = replace(facts_from_mapping(record["facts"]), model=record["id"], source=source)
    else:
        like = assume_like or record.get("assume_like")
        config = {**record["config"], **({"model_type": like} if like else {})}
        facts = read_config(
            config,
            model=record["id"],
            source=source,
            include_mtp=include_mtp,
            hf_quant_config=record.get("hf_quant_config"),
        )
        real = record["config"].get("model_type")
        if like and like != real:
            note = f"read like model_type '{like}' (its own is '{real}')"
            facts = replace(facts, assumptions=(*facts.assumptions, note))
    pinned = record.get("pinned") or {}
    if not pinned.get("tensors"):
        note = "weights: by arithmetic from config.json, no headers at hand"
        return facts if record.get("facts") else replace(facts, notes=(*facts.notes, note))
    return with_stored(
        facts,
        groups_of(pinned["tensors"]),
        pinned["basis"],
        include_mtp=include_mtp,
        bits_by_format=bits_by_format,
    )


def facts_to_mapping(facts: ModelFacts) -> dict[str, Any]:
    """The facts as plain data, without what a field's default says anyway; alike layers once."""
    plain = {field.name: getattr(facts, field.name) for field in fields(facts)}
    kinds = list(dict.fromkeys(facts.layers))
    return {
        **{key: value for key, value in plain.items() if key not in ("model", "source")},
        "assumptions": list(facts.assumptions),
        "notes": list(facts.notes),
        "tensors": [_row(tensor, Tensor) for tensor in facts.tensors],
        "layer_kinds": [_row(layer, Layer) for layer in kinds],
        "layers": [kinds.index(layer) for layer in facts.layers],
        "quantization": [_row(modules, QuantizedModules) for modules in facts.quantization],
    }


def _row(value: Any, kind: Any) -> dict[str, Any]:
    defaults = {field.name: field.default for field in fields(kind)}
    row = {key: item for key, item in asdict(value).items() if item != defaults[key]}
    if "layers" in row and row["layers"] is not None:
        row["layers"] = _ranges(row["layers"])
    return {key: list(item) if isinstance(item, tuple) else item for key, item in row.items()}


def facts_from_mapping(data: Mapping[str, Any]) -> ModelFacts:
    """The reverse of `facts_to_mapping`; model and source are left empty."""

    def build(kind: Any, row: Mapping[str, Any]) -> Any:
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
        if isinstance(row.get("layers"), str):
            values["layers"] = _numbers(row["layers"])
        return kind(**values)

    kinds = [build(Layer, row) for row in data["layer_kinds"]]
    plain = {k: v for k, v in data.items() if k not in ("layer_kinds", "layers")}
    return ModelFacts(
        **{
            **plain,
            "model": "",
            "source": "",
            "assumptions": tuple(data.get("assumptions", ())),
            "notes": tuple(data.get("notes", ())),
            "tensors": tuple(build(Tensor, row) for row in data["tensors"]),
            "layers": tuple(kinds[index] for index in data["layers"]),
            "quantization": tuple(
                build(QuantizedModules, row) for row in data.get("quantization", ())
            ),
        }
    )


def write_yaml(path: Path, data: Any, heading: str) -> None:
    """Write a YAML file at once: to a temporary file beside it that then takes its name.

    Raises:
        OutsideFailure: the folder can't be made or written to.
    """
    import yaml

    text = "".join(f"# {line}\n" for line in heading.splitlines()) + yaml.dump(
        data, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=4096
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123
                file.write(text)
            Path(name).chmod(0o644)
            os.replace(name, path)  # noqa: PTH105
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise OutsideFailure(f"{path}: can't be written: {error.strerror}") from None


def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes every text that some reader might take for something else; no anchors."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:
        plain = _PLAIN_WORD.fullmatch(value) and value.casefold() not in _YAML_WORDS
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')

    def sequence(dumper: Any, value: Any) -> Any:
        flat = not any(isinstance(item, dict | list) for item in value)
        return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flat)

    def mapping(dumper: Any, value: dict[str, Any]) -> Any:
        small = {"size_bytes", "tensor_bytes"} & set(value) != set()
        flat = small and not any(isinstance(item, dict) for item in value.values())
        return dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=flat)

    Dumper.add_representer(str, text)
    Dumper.add_representer(list, sequence)
    Dumper.add_representer(tuple, sequence)
    Dumper.add_representer(dict, mapping)
    return Dumper
