"""`planner models` and `planner lock` as commands: output, exit codes, files left behind."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny
from tests.hubserver import HubServer
from tests.unit.test_gguf import LLAMA, gguf_bytes, llama_rows

TOKEN = "hf_thisIsAVerySecretToken"
SCENARIO = """\
version: 1
models:
  - acme/tiny
workloads:
  - {name: chat, method: inference, models: [acme/tiny, Qwen/Qwen3-0.6B]}
"""


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as running:
        running.add("acme/tiny", tiny.files())
        running.add("Qwen/Qwen3-0.6B", tiny.files())
        yield running


def planner(
    folder: Path, *words: str, hub: HubServer | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder, with an unreachable hub unless one is given."""
    return subprocess.run(
        [sys.executable, "-m", "planner", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            **os.environ,
            "HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9",
            "HF_HOME": str(folder / "hf-home"),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DOWNLOAD_TIMEOUT": "1",
            **environment,
        },
    )


class Inside:
    """The same in this process: quicker, for what asks no hub."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        from planner.cli import main

        self.monkeypatch.chdir(folder)
        self.monkeypatch.setattr(sys, "argv", ["planner", *words])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = self.capsys.readouterr()
        return subprocess.CompletedProcess([], int(left.value.code or 0), out, err)


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inside:
    return Inside(monkeypatch, capsys)


def left_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_add_then_show_needs_no_network(tmp_path: Path, server: HubServer) -> None:
    added = planner(tmp_path, "models", "add", "acme/tiny", "--date", "2026-01-02", hub=server)
    assert added.returncode == 0, added.stderr
    assert "213,632 bytes by safetensors headers" in added.stdout
    assert left_in(tmp_path) == {"models/acme--tiny.yaml"}
    text = (tmp_path / "models/acme--tiny.yaml").read_text("utf-8")
    assert server.repos["acme/tiny"].commit in text
    assert 'date: "2026-01-02"' in text
    assert TOKEN not in text
    shown = planner(tmp_path, "models", "show", "acme/tiny", "--json", "--lora", "8:all-linear")
    assert shown.returncode == 0, shown.stderr
    card = json.loads(shown.stdout)
    assert card["parameters"] == tiny.PARAMETERS
    assert card["stored_bytes"] == 2 * tiny.PARAMETERS
    # rank x (in + out): q and o 128 each, k and v 96 each, three of the MLP 192 each, two layers
    assert card["lora_parameters"] == 8 * 2 * (2 * 128 + 2 * 96 + 3 * 192)


def test_lock_pins_every_model_of_a_scenario(tmp_path: Path, server: HubServer) -> None:
    (tmp_path / "chat.yaml").write_text(SCENARIO, encoding="utf-8")
    done = planner(tmp_path, "lock", "chat.yaml", "--date", "2026-01-02", hub=server)
    assert done.returncode == 0, done.stderr
    assert left_in(tmp_path) == {"chat.yaml", "chat.lock.yaml"}
    first = (tmp_path / "chat.lock.yaml").read_bytes()
    for repo in server.repos.values():
        assert repo.commit.encode() in first
    assert TOKEN.encode() not in first
    again = planner(tmp_path, "lock", "chat.yaml", "--date", "2026-01-02", hub=server)
    assert again.returncode == 0
    assert (tmp_path / "chat.lock.yaml").read_bytes() == first


def test_a_failing_hub_leaves_the_old_lock(tmp_path: Path, server: HubServer) -> None:
    (tmp_path / "chat.yaml").write_text(SCENARIO, encoding="utf-8")
    (tmp_path / "chat.lock.yaml").write_text("old", encoding="utf-8")
    server.fail("/api/models/Qwen", status=403)
    done = planner(tmp_path, "lock", "chat.yaml", hub=server)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert TOKEN not in done.stderr + done.stdout
    assert left_in(tmp_path) == {"chat.yaml", "chat.lock.yaml"}
    assert (tmp_path / "chat.lock.yaml").read_text("utf-8") == "old"


@pytest.mark.parametrize(
    ("environment", "says"),
    [({}, "can't reach http://127.0.0.1:9"), ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set")],
)
def test_offline_is_exit_3_and_writes_nothing(
    tmp_path: Path, environment: dict[str, str], says: str
) -> None:
    done = planner(tmp_path, "models", "add", "acme/tiny", **environment)
    assert done.returncode == 3
    assert done.stderr.startswith("error: acme/tiny: ")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert left_in(tmp_path) == set()


def test_an_unknown_type_is_exit_2_and_writes_nothing(tmp_path: Path, server: HubServer) -> None:
    server.add("acme/odd", tiny.files(model_type="acme_odd"))
    done = planner(tmp_path, "models", "add", "acme/odd", hub=server)
    assert done.returncode == 2
    assert "--derive" in done.stderr
    assert "--assume-like" in done.stderr
    assert left_in(tmp_path) == set()
    done = planner(tmp_path, "models", "add", "acme/odd", "--assume-like", "llama", hub=server)
    assert done.returncode == 0
    assert "read like model_type 'llama'" in done.stdout


def test_a_changed_lock_is_exit_3(tmp_path: Path, server: HubServer) -> None:
    planner(tmp_path, "models", "add", "acme/tiny", hub=server)
    path = tmp_path / "models/acme--tiny.yaml"
    text = path.read_text("utf-8")
    path.write_text(text.replace("hidden_size: 64", "hidden_size: 65"), encoding="utf-8")
    shown = planner(tmp_path, "models", "show", "acme/tiny")
    assert shown.returncode == 3
    assert "changed after it was written" in shown.stderr


def test_show_reads_a_folder_a_config_and_a_gguf_file(inside: Inside, tmp_path: Path) -> None:
    tiny.write(tmp_path / "checkpoint", tiny.files())
    (tmp_path / "m.gguf").write_bytes(gguf_bytes(LLAMA, llama_rows()))
    for path, stored in (
        ("checkpoint", 2 * tiny.PARAMETERS),
        ("checkpoint/config.json", None),
        ("m.gguf", None),
    ):
        shown = inside(tmp_path, "models", "show", "--config", path, "--json")
        assert shown.returncode == 0, shown.stderr
        card = json.loads(shown.stdout)
        if path != "m.gguf":
            assert (card["parameters"], card["stored_bytes"]) == (tiny.PARAMETERS, stored)
    text = inside(tmp_path, "models", "show", "./checkpoint").stdout
    assert "by safetensors headers" in text


def test_add_from_files_keeps_what_they_store(inside: Inside, tmp_path: Path) -> None:
    tiny.write(tmp_path / "checkpoint", tiny.files())
    (tmp_path / "m.gguf").write_bytes(gguf_bytes(LLAMA, llama_rows()))
    for path, name in (("checkpoint", "acme/folder"), ("m.gguf", "acme/file")):
        added = inside(tmp_path, "models", "add", "--config", path, "--id", name)
        assert added.returncode == 0, added.stderr
        shown = inside(tmp_path, "models", "show", name, "--json")
        direct = inside(tmp_path, "models", "show", "--config", path, "--json")
        for key in ("parameters", "stored_bytes", "kv_bytes_per_token", "norm", "mlp"):
            assert json.loads(shown.stdout)[key] == json.loads(direct.stdout)[key]


def test_list_filters_and_counts(inside: Inside, tmp_path: Path) -> None:
    done = inside(tmp_path, "models", "list", "qwen3", "--max-parameters", "1", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert "Qwen/Qwen3-0.6B" in {row["model"] for row in rows}
    assert all(row["parameters"] <= 1e9 for row in rows)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["models", "show"], 2, "name a model"),
        (["models", "show", "acme/none"], 2, "planner models add"),
        (["models", "show", "Qwen/Qwen3-0.6BB"], 2, "did you mean"),
        (["models", "show", "--config", "none.json"], 2, "No such file"),
        (["models", "show", "Qwen/Qwen3-0.6B", "--lora", "x"], 2, "RANK:TARGETS"),
        (["models", "add"], 2, "either ID"),
        (["models", "add", "a b"], 2, "not a model id"),
        (["models", "add", "x/y", "--date", "soon"], 2, "soon"),
        (["lock", "none.yaml"], 2, "no such file"),
    ],
)
def test_wrong_input_is_exit_2(
    inside: Inside, tmp_path: Path, words: list[str], code: int, says: str
) -> None:
    done = inside(tmp_path, *words)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_scenario_that_names_no_hub_id_says_where(inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "chat.yaml").write_text("models: [Qwen3-0.6BB]\n", encoding="utf-8")
    done = inside(tmp_path, "lock", "chat.yaml")
    assert done.returncode == 2
    assert "chat.yaml:1:10: error[unknown-model]" in done.stderr


def test_help_does_not_import_the_hub_client() -> None:
    code = (
        "import sys, planner.cli.models, planner.cli.lock;"
        "print([m for m in ('huggingface_hub', 'polars') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_locks_among_the_files_are_left_out(
    inside: Inside, tmp_path: Path, server: HubServer
) -> None:
    (tmp_path / "chat.yaml").write_text(SCENARIO, encoding="utf-8")
    for _ in range(2):
        done = planner(tmp_path, "lock", *sorted(left_in(tmp_path)), hub=server)
        assert done.returncode == 0, done.stderr
    assert left_in(tmp_path) == {"chat.yaml", "chat.lock.yaml"}
    alone = inside(tmp_path, "lock", "chat.lock.yaml")
    assert alone.returncode == 2
    assert "is a lock" in alone.stderr


def test_a_missing_extra_is_named_and_nothing_written(inside: Inside, tmp_path: Path) -> None:
    if importlib.util.find_spec("torch") is not None:
        pytest.skip("the extra is installed here")
    (tmp_path / "config.json").write_bytes(tiny.config_bytes(model_type="acme_odd"))
    words = ["models", "add", "--config", "config.json", "--id", "acme/odd", "--derive"]
    done = inside(tmp_path, *words)
    assert done.returncode in (2, 3)
    assert "planner[derive]" in done.stderr
    assert left_in(tmp_path) == {"config.json"}
