"""Exports: the values of the cell, and refusals where the target can't say them."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
import yaml

from planner.errors import InputProblems
from planner.interop.export_serving import llama_cpp_arguments, sglang_arguments, vllm_arguments
from planner.interop.exports import EXPORTS, default_target
from planner.interop.launch import Launch
from tests.launches import serving, training


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def test_vllm_has_every_value_of_the_estimate() -> None:
    words = vllm_arguments(serving(tensor_parallel_size=2, pipeline_parallel_size=2, gpu_count=4))
    assert words[:3] == ["vllm", "serve", "meta-llama/Llama-3.1-8B-Instruct"]
    assert option(words, "--tensor-parallel-size") == "2"
    assert option(words, "--pipeline-parallel-size") == "2"
    assert option(words, "--max-model-len") == "8192"
    assert option(words, "--gpu-memory-utilization") == "0.92"
    assert option(words, "--max-num-seqs") == "256"
    assert option(words, "--max-num-batched-tokens") == "2048"
    assert option(words, "--kv-cache-dtype") == "fp8"


def test_what_the_scenario_sets_goes_before_the_default_of_the_version() -> None:
    words = vllm_arguments(serving(max_num_seqs=7, max_num_batched_tokens=99))
    assert option(words, "--max-num-seqs") == "7"
    assert option(words, "--max-num-batched-tokens") == "99"


def test_sglang_and_llama_cpp() -> None:
    words = sglang_arguments(serving(engine="sglang"))
    assert option(words, "--mem-fraction-static") == "0.92"
    assert option(words, "--context-length") == "8192"
    words = llama_cpp_arguments(serving(engine="llama.cpp", kv_cache_dtype="int8"))
    assert option(words, "--ctx-size") == str(8192 * 16)
    assert option(words, "--parallel") == "16"
    assert option(words, "--cache-type-k") == "q8_0"


@pytest.mark.parametrize(
    ("target", "launch", "says"),
    [
        ("vllm", serving(engine="sglang"), "estimated for sglang"),
        ("vllm", training(), "training run"),
        ("trl", serving(), "inference"),
        ("trl", training(optimizer="muon"), "no optimizer 'muon'"),
        ("torchtune", training(), "estimated for trl"),
        ("deepspeed", training(sharding="fsdp"), "sharded by 'fsdp'"),
        ("accelerate", training(sharding="zero3"), "fp32 master"),
        ("kubernetes", serving(nodes=2), "spans nodes"),
        ("vllm", serving(kv_cache_dtype="int8"), "no KV cache of int8"),
    ],
)
def test_what_can_not_be_said_is_refused(target: str, launch: Launch, says: str) -> None:
    with pytest.raises(InputProblems, match=says):
        EXPORTS[target](launch)


DRAFTED: dict[str, Any] = {"draft_model": "meta-llama/Llama-3.2-1B", "speculative_tokens": 4}


def test_vllm_gets_the_draft_model_of_the_estimate() -> None:
    config = json.loads(option(vllm_arguments(serving(**DRAFTED)), "--speculative-config"))
    assert config == {"model": "meta-llama/Llama-3.2-1B", "num_speculative_tokens": 4}
    assert "--speculative-config" not in vllm_arguments(serving())
    (task,) = documents("skypilot", serving(**DRAFTED))
    assert "--speculative-config" in task["run"]


def test_sglang_verifies_one_token_more_than_it_drafts() -> None:
    words = sglang_arguments(serving(engine="sglang", engine_version="0.5.9", weight_format="bf16",
                                     **DRAFTED))  # fmt: skip
    assert option(words, "--speculative-algorithm") == "STANDALONE"
    assert option(words, "--speculative-draft-model-path") == "meta-llama/Llama-3.2-1B"
    assert option(words, "--speculative-num-steps") == "4"
    assert option(words, "--speculative-eagle-topk") == "1"
    assert option(words, "--speculative-num-draft-tokens") == "5"


def test_llama_cpp_drafts_with_the_cache_of_the_model() -> None:
    launch = serving(engine="llama.cpp", kv_cache_dtype="int8", **DRAFTED)
    words = llama_cpp_arguments(launch)
    assert option(words, "--model-draft") == "Llama-3.2-1B.gguf"
    assert option(words, "--spec-type") == "draft-simple"
    assert option(words, "--spec-draft-n-max") == "4"
    assert option(words, "--n-gpu-layers-draft") == "999"
    assert option(words, "--cache-type-k-draft") == option(words, "--cache-type-k")
    assert "# draft model: " in EXPORTS["llama.cpp"](launch)
    assert "--draft-max" in EXPORTS["llama.cpp"](launch)


@pytest.mark.parametrize(
    ("target", "launch", "says"),
    [
        ("vllm", serving(speculative_tokens=2), "which heads draft is not known"),
        ("kubernetes", serving(speculative_tokens=2), "which heads draft is not known"),
        ("vllm", serving(engine_version="0.13", **DRAFTED), "again from 0.15"),
        ("vllm", serving(engine_version="0.7.1", **DRAFTED), "from 0.8 on"),
        ("sglang", serving(engine="sglang", engine_version="0.4.8", **DRAFTED), "from 0.5.4 on"),
        ("sglang", serving(engine="sglang", engine_version="0.5.9", **DRAFTED), "would quantise"),
        ("sglang", serving(engine="sglang", speculative_tokens=2), "which heads draft"),
        ("llama.cpp", serving(engine="llama.cpp", kv_cache_dtype="auto", speculative_tokens=2),
         "which heads draft"),
        ("llama.cpp", serving(engine="ik_llama.cpp", kv_cache_dtype="auto", **DRAFTED),
         "not certain"),
    ],
)  # fmt: skip
def test_drafting_that_can_not_be_said_is_refused(target: str, launch: Launch, says: str) -> None:
    with pytest.raises(InputProblems, match=says):
        EXPORTS[target](launch)


def test_a_stored_format_is_said_in_a_comment() -> None:
    text = EXPORTS["vllm"](serving(weight_format="awq-int4-g128"))
    assert "# weights: the estimate is for a checkpoint in the format awq-int4-g128" in text


def test_the_script_is_the_arguments() -> None:
    launch = serving(model="a b/c'd")
    script = EXPORTS["vllm"](launch).replace("\\\n", " ")
    assert shlex.split(script, comments=True) == vllm_arguments(launch)


def documents(target: str, launch: Launch) -> list[Any]:
    text = EXPORTS[target](launch)
    assert "&id" not in text
    return list(yaml.safe_load_all(text))


def test_kubernetes_asks_for_the_gpus_of_a_replica() -> None:
    deployment, service = documents("kubernetes", serving(gpu_count=4, replicas=3))
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "4"}
    assert deployment["spec"]["replicas"] == 3
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    assert len(deployment["metadata"]["name"]) <= 63


def test_skypilot_and_dstack_name_the_gpu_as_they_do() -> None:
    (task,) = documents("skypilot", serving(skypilot_name="H100"))
    assert task["resources"]["accelerators"] == "H100:1"
    assert task["resources"]["use_spot"] is True
    (config,) = documents("dstack", serving(dstack_name="H100"))
    assert config["type"] == "service"
    assert config["resources"]["gpu"]["name"] == "H100"


def test_trl_of_each_method() -> None:
    (full,) = documents("trl", training())
    assert full["max_length"] == 2048
    assert full["gradient_checkpointing"] is True
    assert "use_peft" not in full
    (qlora,) = documents("trl", training(method="qlora", weight_format="nf4-dq"))
    assert qlora["load_in_4bit"] is True
    assert qlora["use_bnb_nested_quant"] is True
    (dora,) = documents("trl", training(method="dora", lora_targets="q_proj;v_proj"))
    assert dora["use_dora"] is True
    assert dora["lora_target_modules"] == ["q_proj", "v_proj"]


def test_fsdp_without_fp32_copies_has_no_mixed_precision() -> None:
    (plain,) = documents("accelerate", training(sharding="fsdp", gpu_count=2))
    assert plain["mixed_precision"] == "no"
    (preset,) = documents("accelerate", training(sharding="fsdp", gpu_count=2, framework="fsdp"))
    assert preset["mixed_precision"] == "bf16"
    assert preset["num_processes"] == 2


def test_deepspeed_batches_multiply() -> None:
    launch = training(sharding="zero2", framework="deepspeed", gpu_count=4, data_parallel_size=4,
                      micro_batch_size=2, gradient_accumulation_steps=3)  # fmt: skip
    config = json.loads(EXPORTS["deepspeed"](launch))
    assert config["train_batch_size"] == 24
    assert config["zero_optimization"]["stage"] == 2


def test_torchtune() -> None:
    launch = training(framework="torchtune", method="lora", gpu_count=2)
    words = shlex.split(EXPORTS["torchtune"](launch).replace("\\\n", " "), comments=True)
    assert words[:5] == ["tune", "run", "--nproc_per_node", "2", "lora_finetune_distributed"]
    assert "tokenizer.max_seq_len=2048" in words
    assert "model.lora_attn_modules=[q_proj,k_proj,v_proj,output_proj]" in words


def test_default_targets() -> None:
    assert default_target(serving(engine="ik_llama.cpp")) == "llama.cpp"
    assert default_target(training(framework="torchtune")) == "torchtune"
    assert default_target(training()) == "trl"
