"""Imports: what other tools' files say becomes a scenario that the planner accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from planner.cli.importer import told_kind
from planner.errors import InputProblems
from planner.interop.exports import EXPORTS
from planner.interop.foreign import Imported
from planner.interop.import_serving import from_skypilot, from_vllm
from planner.interop.import_training import from_axolotl, from_torchtune, from_trl
from planner.pipeline import open_scenario
from tests.launches import serving, training

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


def accepted(imported: Imported, folder: Path) -> dict[str, Any]:
    """The scenario, after the planner has read it without a word."""
    imported.scenario["supply"]["gpus"] = ["H100"]
    file = folder / "scenario.yaml"
    file.write_text(imported.text("a file"))
    open_scenario(file)
    scenario: dict[str, Any] = yaml.safe_load(file.read_text())
    return scenario


@pytest.mark.parametrize(
    "command",
    [
        f"vllm serve {LLAMA} --max-model-len 16K --tensor-parallel-size 2 -q fp8",
        f"VLLM_USE_V1=1 vllm serve {LLAMA} \\\n  --max-model-len=16384 \\\n -tp 2 -q fp8",
        f"python -m vllm.entrypoints.openai.api_server --model {LLAMA} --max_model_len 16384 "
        "--tensor_parallel_size 2 --quantization=fp8 > log.txt",
    ],
)
def test_spellings_of_a_vllm_command(command: str, tmp_path: Path) -> None:
    scenario = accepted(from_vllm(command, "start.sh"), tmp_path)
    workload = scenario["workloads"][0]
    assert scenario["models"] == [LLAMA]
    assert workload["context_tokens"] == 16384
    assert workload["weight_format"] == "fp8"
    assert scenario["supply"]["gpu_counts"] == [2]


def test_nothing_is_dropped_silently() -> None:
    imported = from_vllm(f"vllm serve {LLAMA} --speculative-config x --host 1.2.3.4", "x")
    assert any("--speculative-config" in note for note in imported.notes)
    assert not any("--host" in note for note in imported.notes)
    assert any("concurrent_sequences" in note for note in imported.notes)


def test_the_draft_model_comes_back(tmp_path: Path) -> None:
    launch = serving(draft_model="Qwen/Qwen3-0.6B", speculative_tokens=4)
    imported = from_vllm(EXPORTS["vllm"](launch), "x")
    engine = accepted(imported, tmp_path)["workloads"][0]["engine"]
    assert engine["draft_model"] == "Qwen/Qwen3-0.6B"
    assert engine["speculative_tokens"] == 4
    assert not any("--speculative-config" in note for note in imported.notes)


@pytest.mark.parametrize(
    ("config", "engine"),
    [
        ('{"method": "mtp", "num_speculative_tokens": 2}', {"speculative_tokens": 2}),
        ('{"method": "ngram", "num_speculative_tokens": 2}', None),
        ('{"method": "eagle3", "model": "a/b", "num_speculative_tokens": 2}', None),
        ('{"model": "a/b"}', None),
    ],
)
def test_drafting_is_read_or_named_in_a_note(config: str, engine: dict[str, int] | None) -> None:
    imported = from_vllm(f"vllm serve {LLAMA} --speculative-config '{config}'", "x")
    named = any("--speculative-config" in note for note in imported.notes)
    assert named == (engine is None)
    assert imported.scenario["workloads"][0]["engine"] == {"name": "vllm", **(engine or {})}


def test_what_goes_out_comes_back(tmp_path: Path) -> None:
    launch = serving(max_num_seqs=64, max_num_batched_tokens=4096, enforce_eager=True)
    workload = accepted(from_vllm(EXPORTS["vllm"](launch), "x"), tmp_path)["workloads"][0]
    assert workload["engine"] == {
        "name": "vllm", "gpu_memory_utilization": 0.92, "max_num_seqs": 64,
        "max_num_batched_tokens": 4096, "enforce_eager": True,
    }  # fmt: skip
    assert (workload["context_tokens"], workload["kv_cache_dtype"]) == (8192, "fp8")


@pytest.mark.parametrize("method", ["full", "lora", "dora", "qlora"])
def test_trl_comes_back(method: str, tmp_path: Path) -> None:
    weight_format = "nf4-dq" if method == "qlora" else "bf16"
    launch = training(method=method, weight_format=weight_format, micro_batch_size=4)
    workload = accepted(from_trl(EXPORTS["trl"](launch), "x"), tmp_path)["workloads"][0]
    assert workload["method"] == method
    assert workload["micro_batch_size"] == 4
    assert workload["sequence_tokens"] == 2048
    assert workload["attention"] == "flash"
    assert (method == "full") == ("lora" not in workload)


def test_skypilot_task(tmp_path: Path) -> None:
    text = EXPORTS["skypilot"](serving(gpu_count=2, tensor_parallel_size=2))
    scenario = accepted(from_skypilot(text, "x"), tmp_path)
    assert scenario["supply"]["gpu_counts"] == [2]
    assert scenario["supply"]["providers"] == ["nebius"]
    assert scenario["supply"]["purchase"] == ["spot"]


def test_skypilot_variables_and_lists() -> None:
    text = (
        "envs: {MODEL_NAME: Qwen/Qwen3-8B}\nresources: {accelerators: [H100:4, A100-80GB:4]}\n"
        "run: |\n  echo start\n  vllm serve $MODEL_NAME -tp $SKYPILOT_NUM_GPUS_PER_NODE\n"
    )
    scenario = from_skypilot(text, "x").scenario
    assert scenario["models"] == ["Qwen/Qwen3-8B"]
    assert scenario["supply"]["gpus"] == ["H100", "A100-80GB"]
    assert scenario["supply"]["gpu_counts"] == [4]


AXOLOTL = f"""\
base_model: {LLAMA}
load_in_4bit: true
adapter: qlora
sequence_len: 4096
sample_packing: true
lora_r: 32
lora_dropout: 0.05
lora_target_linear: true
gradient_accumulation_steps: 4
micro_batch_size: 2
num_epochs: 1
optimizer: paged_adamw_32bit
learning_rate: 0.0002
bf16: auto
gradient_checkpointing: true
flash_attention: true
deepspeed: deepspeed_configs/zero3.json
strange_option: 1
"""


def test_axolotl(tmp_path: Path) -> None:
    imported = from_axolotl(AXOLOTL, "x", count=2)
    assert any("'strange_option'" in note for note in imported.notes)
    assert not any("learning_rate" in note for note in imported.notes)
    workload = accepted(imported, tmp_path)["workloads"][0]
    assert workload["method"] == "qlora"
    assert workload["optimizer"] == "paged-adamw"
    assert workload["lora"] == {"rank": 32, "targets": "all-linear", "dropout": 0.05}
    assert imported.scenario["supply"]["parallel"] == {"sharding": "zero3"}


TORCHTUNE = f"""\
model:
  _component_: torchtune.models.llama3_1.lora_llama3_1_8b
  lora_attn_modules: [q_proj, k_proj, v_proj, output_proj]
  apply_lora_to_mlp: true
  lora_rank: 64
checkpointer: {{checkpoint_dir: {LLAMA}}}
tokenizer: {{max_seq_len: 4096}}
dataset: {{_component_: torchtune.datasets.alpaca_cleaned_dataset, packed: true}}
batch_size: 2
optimizer: {{_component_: torch.optim.AdamW, fused: true, lr: 0.0003}}
loss: {{_component_: torchtune.modules.loss.LinearCrossEntropyLoss}}
enable_activation_checkpointing: true
compile: false
dtype: bf16
"""


def test_torchtune(tmp_path: Path) -> None:
    workload = accepted(from_torchtune(TORCHTUNE, "x"), tmp_path)["workloads"][0]
    assert workload["framework"] == "torchtune"
    assert workload["lora"] == {"rank": 64, "targets": "all-linear", "dropout": 0.0}
    assert workload["packing"] is True
    assert workload["loss_kernel"] == "chunked"


@pytest.mark.parametrize(
    ("reader", "text", "says"),
    [
        (from_vllm, "python train.py", "no 'vllm serve' command"),
        (from_vllm, "vllm serve --port 1", "names no model"),
        (from_vllm, "vllm serve m --max-model-len many", "no whole number"),
        (from_vllm, 'vllm serve m --x "', "can't be read"),
        (from_trl, "- a\n- b\n", "not a mapping"),
        (from_trl, "a: [", "not YAML"),
        (from_trl, "learning_rate: 1\n", "names no model"),
        (from_axolotl, "base_model: m\noptimizer: sophia\n", "no counterpart"),
        (from_torchtune, "batch_size: 2\n", "checkpoint_dir"),
    ],
)
def test_what_can_not_be_read_is_an_input_error(reader: Any, text: str, says: str) -> None:
    with pytest.raises(InputProblems, match=says):
        reader(text, "file")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("vllm serve x", "vllm"),
        (AXOLOTL, "axolotl"),
        (TORCHTUNE, "torchtune"),
        (EXPORTS["trl"](training()), "trl"),
        (EXPORTS["skypilot"](serving()), "skypilot"),
    ],
)
def test_the_kind_is_told_from_the_content(text: str, kind: str) -> None:
    assert told_kind(text) == kind
