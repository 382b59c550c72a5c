"""Locks and records: written at once, read back exactly, refused when changed."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog.load import load_catalog
from planner.documents import load_document
from planner.errors import OutsideFailure
from planner.resolve.adding import record_from_file, save
from planner.resolve.headers import Stored, read_file
from planner.resolve.hub import HubFile, Snapshot
from planner.resolve.lock import (
    Lock,
    file_sha256,
    lock_path,
    read_lock,
    record_of_snapshot,
    write_lock,
)
from planner.resolve.locking import Locker
from planner.resolve.models import UnknownModel, resolve_model
from planner.resolve.records import (
    facts_from_mapping,
    facts_of_record,
    facts_to_mapping,
    groups_of,
    tensor_rows,
    write_yaml,
)
from tests import tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DAY = date(2026, 1, 2)


def snapshot(folder: Path, model: str = "acme/tiny") -> Snapshot:
    tiny.write(folder, tiny.files())
    path = folder / "model.safetensors"
    size = path.stat().st_size
    stored = Stored(read_file(path), {path.name: size})
    files = {
        "config.json": HubFile("config.json", 10, "a" * 40),
        path.name: HubFile(path.name, size, "b" * 40, "c" * 64),
        "README.md": HubFile("README.md", 5, "d" * 40),
    }
    return Snapshot(model, "v1", COMMIT, tiny.CONFIG, None, files, stored)


@pytest.fixture
def lock_file(tmp_path: Path) -> Path:
    path = tmp_path / "chat.lock.yaml"
    write_lock(path, [record_of_snapshot(snapshot(tmp_path / "checkpoint"), DAY)])
    return path


def test_a_lock_says_commit_hashes_and_date(lock_file: Path) -> None:
    record = read_lock(lock_file).models["acme/tiny"]
    assert record["revision"] == COMMIT
    assert record["pinned"]["requested_revision"] == "v1"
    assert record["pinned"]["date"] == "2026-01-02"
    assert record["pinned"]["files"]["model.safetensors"]["sha256"] == "c" * 64
    assert set(record["pinned"]["files"]) == {"config.json", "model.safetensors"}


def test_facts_of_a_lock_are_those_of_the_checkpoint(lock_file: Path) -> None:
    facts = resolve_model("acme/tiny", catalog=load_catalog(), lock=read_lock(lock_file))
    assert facts.parameters == tiny.PARAMETERS
    assert facts.stored_bytes == 2 * tiny.PARAMETERS
    assert facts.source == "acme/tiny@0123456789ab by chat.lock.yaml"


def test_the_same_models_on_the_same_day_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        found = [snapshot(tmp_path / name, f"acme/{model}") for model in ("x", "y")]
        records = [record_of_snapshot(item, DAY) for item in found]
        write_lock(tmp_path / f"{name}.lock.yaml", records if name == "a" else records[::-1])
    first, second = (tmp_path / f"{name}.lock.yaml" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("hidden_size: 64", "hidden_size: 128"),
        (COMMIT, COMMIT.replace("0", "9")),
        ("c" * 64, "e" * 64),
        ("2026-01-02", "2026-01-03"),
        ("stored_bytes: ", "stored_bytes: 1"),
    ],
)
def test_a_changed_record_is_refused(lock_file: Path, old: str, new: str) -> None:
    text = lock_file.read_text("utf-8")
    assert old in text
    lock_file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(OutsideFailure, match="changed after it was written"):
        read_lock(lock_file)


@pytest.mark.parametrize(
    "text",
    ["", "nonsense: [", "version: 2\nmodels: []\n", "version: 1\n", "models: 3\nversion: 1\n"],
)
def test_a_broken_lock_says_to_write_it_again(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.lock.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(OutsideFailure, match=r"x\.lock\.yaml.*planner lock"):
        read_lock(path)


def test_a_revision_must_be_the_locked_one(lock_file: Path) -> None:
    lock = read_lock(lock_file)
    assert "acme/tiny@v1" in lock
    assert f"acme/tiny@{COMMIT}" in lock
    assert "acme/tiny@v2" not in lock
    with pytest.raises(UnknownModel):
        resolve_model("acme/tiny@v2", catalog=load_catalog(), lock=lock)


def test_a_lock_of_its_own_goes_before_the_folders(tmp_path: Path) -> None:
    scenario = tmp_path / "chat.yaml"
    assert lock_path(scenario).name == "chat.lock.yaml"
    (tmp_path / "planner.lock.yaml").touch()
    assert lock_path(scenario).name == "planner.lock.yaml"
    (tmp_path / "chat.lock.yaml").touch()
    assert lock_path(scenario).name == "chat.lock.yaml"


def test_a_local_file_that_changed_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_bytes(tiny.config_bytes())
    lock = Lock("x.lock.yaml", {}, {"config.json": file_sha256(config)})
    options: dict[str, Any] = {"catalog": load_catalog(), "base": tmp_path, "lock": lock}
    given = Path("config.json")
    assert resolve_model("mine", config=given, **options).parameters == tiny.PARAMETERS
    config.write_bytes(tiny.config_bytes(hidden_size=128))
    with pytest.raises(OutsideFailure, match=r"config\.json: changed since x\.lock\.yaml"):
        resolve_model("mine", config=given, **options)


def test_a_checkpoint_folder_is_checked_by_its_config(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "checkpoint", tiny.files())
    lock = Lock("x.lock.yaml", {}, {"checkpoint/config.json": "0" * 64})
    with pytest.raises(OutsideFailure, match="changed since"):
        resolve_model(
            "mine",
            config=Path(folder.name),
            catalog=load_catalog(),
            base=tmp_path,
            lock=lock,
        )


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "chat.lock.yaml"
    path.write_text("old", encoding="utf-8")

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OutsideFailure, match="can't be written: No space left"):
        write_lock(path, [])
    assert path.read_text("utf-8") == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["chat.lock.yaml"]


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=12)
    | st.sampled_from(["no", "on", "1e3", "08", "12:30", "0x1f", ".5", "-", "{i}", "a: b", "~"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.from_regex(r"[a-z_]{2,8}", fullmatch=True), plain, min_size=1))
def test_what_is_written_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("yaml") / "x.yaml"
    write_yaml(path, data, "heading")
    document = load_document(path)
    assert document.problems == []
    assert document.data == data


def test_rows_of_a_record_keep_every_tensor(tmp_path: Path) -> None:
    path = tiny.write(tmp_path, tiny.files()) / "model.safetensors"
    groups = Stored(read_file(path), {}).groups()
    assert groups_of(tensor_rows(groups)) == groups


@pytest.mark.parametrize("model", ["Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-0.6B"])
def test_derived_facts_survive_the_record(model: str) -> None:
    facts = resolve_model(model, catalog=load_catalog())
    again = facts_from_mapping(facts_to_mapping(facts))
    assert again.tensors == facts.tensors
    assert again.layers == facts.layers
    assert again.quantization == facts.quantization
    assert again.parameters == facts.parameters


def test_a_record_from_a_folder_is_found_by_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.write(tmp_path / "checkpoint", tiny.files())
    save(record_from_file(folder, "acme/mine", DAY), tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    facts = resolve_model("acme/mine", catalog=load_catalog())
    assert facts.stored_bytes == 2 * tiny.PARAMETERS
    assert facts.source == "models/acme--mine.yaml"


def test_a_record_read_like_another_type_says_so(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(tiny.config_bytes(model_type="acme"))
    record = record_from_file(path, "acme/mine", DAY)
    _, facts = save(record, tmp_path / "models", assume_like="llama")
    assert facts.parameters == tiny.PARAMETERS
    assert "read like model_type 'llama'" in " ".join(facts.assumptions)


def test_nothing_is_written_when_the_config_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(tiny.config_bytes(model_type="acme"))
    record = record_from_file(path, "acme/mine", DAY)
    with pytest.raises(Exception, match=r"unknown model_type 'acme'.*--derive.*--assume-like"):
        save(record, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_an_unknown_id_names_both_ways_on() -> None:
    with pytest.raises(UnknownModel) as caught:
        resolve_model("acme/nothing-like-it", catalog=load_catalog())
    assert "planner models add" in caught.value.hint
    assert "planner lock" in caught.value.hint
    with pytest.raises(UnknownModel) as caught:
        resolve_model("Qwen/Qwen3-0.6BB", catalog=load_catalog())
    assert "did you mean" in caught.value.hint


def test_facts_of_a_plain_record_say_that_bytes_are_arithmetic() -> None:
    facts = facts_of_record({"id": "x", "config": tiny.CONFIG}, source="test")
    assert "by arithmetic" in " ".join(facts.notes)


def test_a_lock_wants_the_draft_model_once(tmp_path: Path) -> None:
    scenario = tmp_path / "drafted.yaml"
    scenario.write_text(
        "models: [acme/tiny]\n"
        "workloads:\n"
        "  - {engine: {draft_model: acme/draft, speculative_tokens: 3}}\n"
        "  - {engine: {draft_model: acme/tiny, speculative_tokens: 3}}\n"
        "  - {engine: vllm}\n"
    )
    wanted = Locker(date(2026, 1, 2)).collect(scenario).hub
    assert [one.model for one in wanted] == ["acme/tiny", "acme/draft"]
    assert wanted[1].path == ("workloads", 0, "engine", "draft_model")
