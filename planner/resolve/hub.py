"""The hub: the only network code of the planner, used by `models add` and `lock` alone.

Everything goes through huggingface_hub's own calls: `model_info` for the commit, `list_repo_tree`
for the files and their hashes, `hf_hub_download` for the config files, ranged reads of the
safetensors headers. Weights are never downloaded. The endpoint (HF_ENDPOINT), the offline switch
(HF_HUB_OFFLINE) and the token come from where huggingface_hub takes them; the token is handed to
nobody else, and no text that a server sent is shown, so that none can carry it into a log.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from planner.errors import InputProblems, Problem
from planner.resolve.headers import (
    MAX_HEADER_BYTES,
    BadHeader,
    Stored,
    StoredTensor,
    check_against_index,
    files_of_index,
    pick_files,
    tensors_from_header,
)
from planner.resolve.hubcall import Caller, HubFailure

CONFIG_FILE: Final = "config.json"
QUANT_FILE: Final = "hf_quant_config.json"
MAX_CONFIG_BYTES: Final = 20_000_000
PARALLEL_READS: Final = 8
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_COMMIT = re.compile(r"[0-9A-Za-z._-]{1,64}")
_GIT_OID = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a repository: its size and the hashes that the hub publishes for it.

    `git_oid` is git's own hash of the blob (of the pointer where the file is stored by LFS),
    `sha256` the hash of the content of an LFS file.
    """

    path: str
    size_bytes: int | None = None
    git_oid: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A model at one commit: config, headers and file hashes, all read from that commit."""

    model: str
    requested_revision: str
    revision: str
    config: Mapping[str, Any]
    hf_quant_config: Mapping[str, Any] | None
    files: Mapping[str, HubFile]
    stored: Stored | None
    notes: tuple[str, ...] = field(default=())


def split_reference(reference: str) -> tuple[str, str | None]:
    """`ID[@revision]` as its two parts.

    Raises:
        InputProblems: not the form of a hub id.
    """
    model, _, revision = reference.partition("@")
    bad_revision = "@" in reference and not re.fullmatch(r"[\w][\w./-]*", revision)
    if not is_hub_id(model) or bad_revision or ".." in revision:
        raise InputProblems(
            [
                Problem(
                    "models",
                    0,
                    0,
                    "bad-model-id",
                    "",
                    f"'{reference:.120}' is not a model id of the hub",
                    "write OWNER/NAME or OWNER/NAME@REVISION; for a file use --config PATH",
                )
            ]
        )
    return model, revision or None


def is_hub_id(text: str) -> bool:
    """Whether a text has the form of a hub id (`owner/name`, or an old one without owner)."""
    return (
        len(text) <= 96
        and _ID.fullmatch(text) is not None
        and "--" not in text
        and ".." not in text
        and not text.endswith((".git", ".json", ".gguf", ".yaml", ".yml", ".safetensors"))
    )


def fetch(model: str, revision: str | None = None) -> Snapshot:
    """Read a model's config and headers from the hub, at one commit.

    Raises:
        HubFailure: the hub is offline, slow, broken or rate-limited, the model is missing,
            renamed, private or gated, or what arrived does not match its published hash.
    """
    caller = Caller(model, revision)
    info = _describe(caller)
    _refuse_renamed(caller, str(info.id))
    commit = str(info.sha or "")
    if not _COMMIT.fullmatch(commit):
        raise caller.failure("the hub names no commit for it")
    files = _list_files(caller, commit, info)
    if files and CONFIG_FILE not in files:
        raise caller.failure(_no_config(files))
    config = _json_file(caller, commit, CONFIG_FILE, files)
    quant = _json_file(caller, commit, QUANT_FILE, files) if QUANT_FILE in files else None
    stored = _read_headers(caller, commit, files)
    notes = () if stored else ("no safetensors files: weights by arithmetic from config.json",)
    return Snapshot(model, revision or "main", commit, config, quant, files, stored, notes)


def _describe(caller: Caller) -> Any:
    def ask(revision: str | None) -> Any:
        return caller.call(
            "its description", lambda: caller.api.model_info(caller.model, revision=revision)
        )

    try:
        return ask(caller.revision)
    except HubFailure as failure:
        if failure.status != 404 or caller.revision is not None:
            raise
        return ask("main")  # some mirrors only answer to a revision


def _refuse_renamed(caller: Caller, current: str) -> None:
    if current != caller.model:
        raise caller.failure(f"was renamed: the hub now calls it '{current:.120}'; use that id")


def _no_config(files: Mapping[str, HubFile]) -> str:
    gguf = sorted(name for name in files if name.endswith(".gguf"))
    if gguf:
        return f"has no {CONFIG_FILE}, only GGUF files; download '{gguf[0]}' and name that file"
    return f"has no {CONFIG_FILE}: not a model that transformers loads"


def _list_files(caller: Caller, commit: str, info: Any) -> dict[str, HubFile]:
    """Files at the root of the repository; from the description where there is no tree to ask."""
    try:
        entries = caller.call(
            "its list of files",
            lambda: list(caller.api.list_repo_tree(caller.model, revision=commit)),
        )
    except HubFailure as failure:
        if failure.status not in (404, 405, 501):
            raise
        entries = list(info.siblings or ())
    files = {}
    for entry in entries:
        path = str(getattr(entry, "path", None) or getattr(entry, "rfilename", ""))
        if not path or not hasattr(entry, "lfs"):
            continue
        size, lfs = entry.size, entry.lfs
        files[path] = HubFile(
            path,
            size if isinstance(size, int) else None,
            str(entry.blob_id or ""),
            str(getattr(lfs, "sha256", None) or "") if lfs else "",
        )
    return files


def _json_file(
    caller: Caller, commit: str, name: str, files: Mapping[str, HubFile]
) -> Mapping[str, Any]:
    content = _download(caller, commit, name, files.get(name, HubFile(name)))
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        raise caller.failure(f"its {name} is not JSON") from None
    if not isinstance(parsed, dict):
        raise caller.failure(f"its {name} is not a JSON object")
    return parsed


def _download(caller: Caller, commit: str, name: str, listed: HubFile) -> bytes:
    """One small file, by way of a folder that is removed again: nothing half-written stays."""
    if listed.size_bytes is not None and listed.size_bytes > MAX_CONFIG_BYTES:
        raise caller.failure(f"its {name} is {listed.size_bytes:,} bytes long, too large")
    with tempfile.TemporaryDirectory(prefix="planner-", ignore_cleanup_errors=True) as folder:
        path = caller.call(
            f"its {name}",
            lambda: caller.api.hf_hub_download(
                caller.model, name, revision=commit, local_dir=folder
            ),
        )
        content = Path(path).read_bytes()
    _check_content(caller, commit, content, listed)
    return content


def _check_content(caller: Caller, commit: str, content: bytes, listed: HubFile) -> None:
    published = {text.lower() for text in (listed.git_oid, listed.sha256)}
    published = {text for text in published if _is_hash(text)}
    if listed.size_bytes is not None and listed.size_bytes != len(content):
        raise caller.failure(
            f"its {listed.path} is broken: {len(content):,} bytes arrived, the hub lists"
            f" {listed.size_bytes:,}"
        )
    if published and not published & content_hashes(content):
        raise caller.failure(
            f"its {listed.path} at {commit[:12]} does not match the hash that the hub publishes;"
            " something changed it on the way"
        )


def _is_hash(text: str) -> bool:
    """Mirrors that keep no hashes fill the place with zeros."""
    return bool(_GIT_OID.fullmatch(text) or _SHA256.fullmatch(text)) and len(set(text)) > 3


def content_hashes(content: bytes) -> set[str]:
    """The hashes under which a hub may publish a file: git's blob hash, SHA-1 and SHA-256."""
    blob = b"blob %d\0" % len(content) + content
    return {
        hashlib.sha1(blob, usedforsecurity=False).hexdigest(),
        hashlib.sha1(content, usedforsecurity=False).hexdigest(),
        hashlib.sha256(content).hexdigest(),
    }


def _read_headers(caller: Caller, commit: str, files: Mapping[str, HubFile]) -> Stored | None:
    index, names = pick_files(files)
    shards: dict[str, set[str]] = {}
    try:
        if index is not None:
            content = _download(caller, commit, index, files[index])
            shards = files_of_index(content, f"{caller.model}: {index}")
            names = list(shards)
            gone = [name for name in names if name not in files]
            if gone:
                raise caller.failure(f"its {index} names a file that is not there: '{gone[0]}'")
        if not names:
            return None
        with ThreadPoolExecutor(PARALLEL_READS) as pool:
            jobs = [pool.submit(_read_header, caller, commit, files[name]) for name in names]
            try:
                tensors = tuple(tensor for job in jobs for tensor in job.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if index is not None:
            check_against_index(tensors, shards, index)
    except BadHeader as error:
        raise caller.failure(str(error)) from None
    return Stored(tensors, {name: files[name].size_bytes or 0 for name in names})


def _read_header(caller: Caller, commit: str, listed: HubFile) -> tuple[StoredTensor, ...]:
    parsed = caller.call(
        f"the header of {listed.path}",
        lambda: caller.api.parse_safetensors_file_metadata(
            caller.model, listed.path, revision=commit
        ),
    )
    header = {
        name: {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": list(tensor.data_offsets),
        }
        for name, tensor in parsed.tensors.items()
    }
    tensors = tensors_from_header(header, listed.path, None)
    around = (listed.size_bytes or 0) - sum(tensor.size_bytes for tensor in tensors)
    if listed.size_bytes is not None and not 8 < around <= MAX_HEADER_BYTES + 8:
        raise BadHeader(
            f"{listed.path}: its header does not match its size of {listed.size_bytes:,} bytes"
        )
    return tensors
