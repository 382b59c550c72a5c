"""Axes become cases, supply becomes configurations."""

from pathlib import Path

import polars as pl

from planner.catalog.load import load_catalog
from planner.grid import (
    cases_frame,
    grid_size,
    model_slugs,
    serving_configurations,
    training_configurations,
)
from planner.pipeline import open_scenario
from planner.scenario.model import Scenario
from tests.scenarios import write

TEXT = """\
version: 1
models: [meta-llama/Llama-3.1-8B-Instruct, Qwen/Qwen2.5-3B-Instruct]
workloads:
  - name: All of it
    matrix:
      method: [inference, lora]
      weight_format: [bf16]
      context_tokens: [4096, 2048]
      sequence_tokens: [512, 1024]
      lora_rank: [8, 16]
    {more}
supply:
  gpus: [L4]
  gpu_counts: [{counts}]
  {supply}
"""


def scenario(folder: Path, more: str = "", supply: str = "", counts: str = "1") -> Scenario:
    text = TEXT.format(more=more, supply=supply, counts=counts)
    return open_scenario(write(folder, text)).scenario


def ids(folder: Path, more: str = "") -> list[str]:
    return cases_frame(scenario(folder, more))["case_id"].to_list()


def test_cases_come_in_declared_order_with_readable_ids(tmp_path: Path) -> None:
    found = ids(tmp_path)
    assert found[:3] == [
        "all-of-it/llama-3.1-8b-instruct/method=inference/weight_format=bf16/context_tokens=4096",
        "all-of-it/llama-3.1-8b-instruct/method=inference/weight_format=bf16/context_tokens=2048",
        "all-of-it/llama-3.1-8b-instruct/method=lora/weight_format=bf16/sequence_tokens=512/lora_rank=8",
    ]
    assert len(found) == len(set(found)) == 2 * (2 + 2 * 2)


def test_an_axis_means_nothing_to_the_other_methods(tmp_path: Path) -> None:
    cases = cases_frame(scenario(tmp_path))
    serving = cases.filter(pl.col("method") == "inference")
    assert serving["sequence_tokens"].null_count() == serving.height
    assert serving["lora_rank"].null_count() == serving.height
    assert serving["optimizer"].null_count() == serving.height
    training = cases.filter(pl.col("method") == "lora")
    assert training["context_tokens"].null_count() == training.height
    assert training["optimizer"].unique().to_list() == ["adamw"]


def test_exclude_takes_out_what_matches(tmp_path: Path) -> None:
    found = ids(tmp_path, "exclude: [{context_tokens: 2048}, {lora_rank: 8, sequence_tokens: 512}]")
    assert not [case for case in found if "context_tokens=2048" in case]
    assert not [case for case in found if "sequence_tokens=512/lora_rank=8" in case]
    assert len(found) == 2 * (1 + 3)


def test_exclude_by_model(tmp_path: Path) -> None:
    found = ids(tmp_path, "exclude: [{model: Qwen/Qwen2.5-3B-Instruct, method: lora}]")
    assert len(found) == 6 + 2


def test_include_adds_combinations_and_keeps_the_other_axes(tmp_path: Path) -> None:
    more = "include: [{method: inference, context_tokens: 16384, weight_format: fp8}]"
    added = [case for case in ids(tmp_path, more) if "context_tokens=16384" in case]
    assert added == [
        "all-of-it/llama-3.1-8b-instruct/method=inference/weight_format=fp8/context_tokens=16384",
        "all-of-it/qwen2.5-3b-instruct/method=inference/weight_format=fp8/context_tokens=16384",
    ]


def test_an_included_combination_that_exists_stays_one(tmp_path: Path) -> None:
    more = "include: [{method: inference, context_tokens: 4096}]"
    assert ids(tmp_path, more) == ids(tmp_path)


def test_slugs_are_short_where_that_is_unique() -> None:
    assert model_slugs(["a/Model X", "b/Other"]) == {"a/Model X": "model-x", "b/Other": "other"}
    assert model_slugs(["a/m", "b/m"]) == {"a/m": "a-m", "b/m": "b-m"}


def test_serving_layouts_use_up_the_count(tmp_path: Path) -> None:
    supply = scenario(tmp_path, supply="parallel: {pipeline: [1, 2]}", counts="1, 4").supply
    layouts = serving_configurations(supply, load_catalog().gpus)
    assert layouts.select("gpu_count", "tensor_parallel_size", "pipeline_parallel_size").rows() == [
        (1, 1, 1),
        (4, 2, 2),
        (4, 4, 1),
    ]


def test_a_count_without_a_layout_stays_with_its_reason(tmp_path: Path) -> None:
    supply = scenario(tmp_path, supply="parallel: {tensor: 2}", counts="3").supply
    layouts = serving_configurations(supply, load_catalog().gpus)
    assert layouts["layout_reason"].to_list() == [
        "no layout with tensor 2 and pipeline 1 uses 3 GPUs"
    ]


def test_training_layouts_fill_up_with_data_parallelism(tmp_path: Path) -> None:
    supply = scenario(tmp_path, supply="parallel: {tensor: [1, 2]}", counts="1, 4").supply
    layouts = training_configurations(supply, load_catalog().gpus)
    columns = ["gpu_count", "tensor_parallel_size", "data_parallel_size", "sharding"]
    assert layouts.select(columns).rows() == [
        (1, 1, 1, "none"),
        (4, 1, 4, "ddp"),
        (4, 1, 4, "fsdp"),
        (4, 2, 2, "ddp"),
        (4, 2, 2, "fsdp"),
    ]


def test_more_gpus_than_a_node_holds_need_multi_node(tmp_path: Path) -> None:
    alone = scenario(tmp_path, counts="16").supply
    reasons = serving_configurations(alone, load_catalog().gpus)["layout_reason"].to_list()
    assert reasons == ["16 GPUs need 2 nodes and multi_node is off"]
    spread = scenario(tmp_path, supply="parallel: {multi_node: true}", counts="16").supply
    found = serving_configurations(spread, load_catalog().gpus)
    assert found["layout_reason"].to_list() == [None]
    assert found["nodes"].to_list() == [2]


def test_the_size_is_known_before_anything_is_expanded(tmp_path: Path) -> None:
    asked = scenario(tmp_path, supply="parallel: {pipeline: [1, 2]}", counts="1, 4")
    size, words = grid_size(asked, 1)
    # 2 models x 2 contexts x 3 layouts, and 2 models x 2 lengths x 2 ranks x 5 layouts.
    assert size == 2 * 2 * 3 + 2 * 2 * 2 * 5
    assert "lora_rank 2" in words
