"""What a vLLM log says of its worker, adapters and draft model, and how the run is estimated."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from planner.cli import cli
from planner.verify.inference_cells import with_versions
from planner.verify.logs import read_output
from planner.verify.read import read_measured

SETTINGS = (
    "with config: model='Qwen/Qwen3-8B', speculative_config=None, dtype=torch.bfloat16,"
    " max_seq_len=8192, tensor_parallel_size=1, pipeline_parallel_size=1, quantization=None,"
    " enforce_eager=False, kv_cache_dtype=auto\n"
)
FIGURES = (
    "INFO Model loading took 15.2683 GiB and 3.2 seconds\nINFO model weights take 15.27GiB;"
    " non_torch_memory takes 0.10GiB; PyTorch activation peak memory takes 1.40GiB; the rest of"
    " the memory reserved for KV Cache is 54.40GiB.\n"
)
FALLEN_BACK = "WARNING VLLM_USE_V1=1 is not supported with --x. Falling back to V0.\n"


def log(engine: str = "a V1 LLM engine (v0.8.2)", *, before: str = "", **settings: str) -> str:
    line = SETTINGS
    for key, value in settings.items():
        line = line.replace(f"{key}=None", f"{key}={value}")
    return f"{before}INFO Initializing {engine} {line}{FIGURES}"


def verify(folder: Path, text: str) -> Any:
    path = folder / "server.log"
    path.write_text(text)
    return CliRunner().invoke(cli, ["verify", str(path), "--gpu", "H100", "--json"])


def rows(result: Any) -> dict[str, Any]:
    return {row["component"]: row for row in json.loads(result.stdout)["rows"]}


def expected(result: Any) -> dict[str, float]:
    return {name: row["expected"] for name, row in rows(result).items()}


def notes(text: str) -> tuple[str, ...]:
    reading = read_output(text)
    assert reading is not None
    return reading.notes


def test_a_v0_worker_of_a_version_with_v1_is_estimated_as_the_last_v0_version(
    tmp_path: Path,
) -> None:
    v0 = verify(tmp_path, log("a V0 LLM engine (v0.8.2)"))
    v1 = verify(tmp_path, log("a V1 LLM engine (v0.8.2)"))
    last = verify(tmp_path, log("an LLM engine (v0.7.3)"))
    assert expected(v0) == expected(last) != expected(v1)
    assert "a V0 worker runs it in vLLM 0.8.2" in v0.stderr
    assert v1.stderr == last.stderr == ""


@pytest.mark.parametrize(
    ("engine", "is_v0"),
    [("an LLM engine (v0.8.2)", True), ("a V1 LLM engine (v0.8.2)", False)],
)
def test_a_run_that_fell_back_is_of_a_v0_worker_unless_its_engine_says_v1(
    tmp_path: Path, engine: str, is_v0: bool
) -> None:
    result = verify(tmp_path, log(engine, before=FALLEN_BACK))
    assert ("a V0 worker runs it" in result.stderr) == is_v0


def test_a_v0_engine_of_a_version_without_v1_needs_no_note() -> None:
    assert notes(log("a V0 LLM engine (v0.7.3)")) == ()


def test_the_notes_of_a_file_may_name_a_v0_worker(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(
        "id,engine,engine_version,model,weights_gib,kv_cache_gib,notes\n"
        "a,vllm,0.8.2,Qwen/Qwen3-8B,15.3,50,V0 worker\nb,vllm,0.8.2,Qwen/Qwen3-8B,15.3,50,\n"
        "c,vllm,0.6.6,Qwen/Qwen3-8B,15.3,50,V0 worker\nd,vllm,,Qwen/Qwen3-8B,15.3,50,V0 worker\n"
    )
    versions = with_versions(read_measured(path).rows)["engine_version"]
    assert versions.to_list() == ["0.7", "0.8.2", "0.6.6", "0.7"]


@pytest.mark.parametrize(
    ("arguments", "note"),
    [
        ("'enable_lora': True, 'max_loras': 4, 'max_lora_rank': 64", "rank 64, max_loras = 4"),
        ("'enable_lora': True", "rank 16, max_loras = 1"),
        ("enable_lora=True, max_loras=2, max_lora_rank=32", "rank 32, max_loras = 2"),
        ("enable_lora=False, max_loras=1, max_lora_rank=16", None),
    ],
)
def test_adapters_are_read_out_of_the_arguments(arguments: str, note: str | None) -> None:
    reading = read_output(f"INFO non-default args: {{{arguments}}}\n{log()}")
    assert reading is not None
    assert reading.values.get("notes") == (note and f"LoRA enabled, {note}")


def test_adapters_of_a_log_are_counted_in_the_weights(tmp_path: Path) -> None:
    arguments = "'enable_lora': True, 'max_loras': 4, 'max_lora_rank': 64"
    engine = "a V1 LLM engine (v0.11.0)"
    plain = expected(verify(tmp_path, log(engine)))
    adapted = verify(tmp_path, log(engine, before=f"INFO non-default args: {{{arguments}}}\n"))
    # 7 matrices a layer, rank 64, 4 slots, 16 bits: 64 x (sum of their two sides) x 36 layers.
    sides = 4096 + 4096 + 2 * (4096 + 1024) + 4096 + 4096 + 3 * (4096 + 12288)
    adapters = 4 * 64 * sides * 36 * 2 / 2**30
    assert expected(adapted)["weights_gib"] - plain["weights_gib"] == pytest.approx(
        adapters, rel=0.05
    )


@pytest.mark.parametrize(
    ("config", "draft"),
    [
        ("SpeculativeConfig(draft_model='Qwen/Qwen3-0.6B', num_spec_tokens=5)", "Qwen/Qwen3-0.6B"),
        ("SpeculativeConfig(method='eagle3', model='a/b', num_spec_tokens=3)", "a/b"),
        ("SpeculativeConfig(method='mtp', model='Qwen/Qwen3-8B', num_spec_tokens=1)", None),
        ("SpeculativeConfig(method='ngram', model=None, num_spec_tokens=5)", None),
        ("None", None),
    ],
)
def test_a_draft_model_is_noted(config: str, draft: str | None) -> None:
    expected_note = (f"a draft model ({draft}) is loaded beside and not in the estimate",)
    assert notes(log(speculative_config=config)) == (expected_note if draft else ())


def test_a_draft_model_in_the_arguments_is_noted() -> None:
    arguments = "'speculative_config': {'model': 'a/b', 'num_speculative_tokens': 3}"
    text = log(before=f"INFO non-default args: {{'model': 'Qwen/Qwen3-8B', {arguments}}}\n")
    assert notes(text) == ("a draft model (a/b) is loaded beside and not in the estimate",)
