"""Parallel layouts: what a count of GPUs allows, over which nodes, and what a model forbids."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog.load import load_catalog
from planner.layouts import (
    CONFIGURATION_SCHEMA,
    node_counts,
    serving_configurations,
    training_configurations,
)
from planner.pipeline import open_scenario
from planner.pipeline.decide import decide
from planner.scenario.model import Supply
from tests.scenarios import write


def supply(**given: object) -> Supply:
    plain = {
        "gpus": ("h100-sxm-80gb",), "gpu_counts": (8,), "tensor": None, "pipeline": (1,),
        "expert": (1,), "context": (1,), "sharding": None, "multi_node": False, "providers": (),
        "regions": (), "purchase": ("on-demand",), "discounts": {}, "owned": (),
    }  # fmt: skip
    return Supply(**{**plain, **given})  # type: ignore[arg-type]


SIZES = ["tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size",
         "expert_parallel_size"]  # fmt: skip


def serving(**given: object) -> list[tuple[int, ...]]:
    return serving_configurations(supply(**given), load_catalog().gpus).select(SIZES).rows()


def test_attention_data_parallelism_spreads_the_experts_over_all_ranks() -> None:
    assert serving(gpu_counts=(4,), expert=None, data=None) == [
        (1, 1, 4, 4),
        (2, 1, 2, 4),
        (4, 1, 1, 1),
        (4, 1, 1, 4),
    ]


def test_without_being_asked_for_a_replica_has_no_data_parallelism() -> None:
    assert serving(gpu_counts=(4,)) == [(4, 1, 1, 1)]


@given(
    count=st.integers(1, 64),
    auto=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
    nodes=st.booleans(),
)
def test_every_layout_uses_up_its_gpus_and_nodes_hold_whole_parts(
    count: int, auto: tuple[bool, bool, bool, bool], nodes: bool
) -> None:
    asked = supply(
        gpu_counts=(count,), multi_node=nodes, tensor=None if auto[0] else (1, 2),
        pipeline=None if auto[1] else (1,), data=None if auto[2] else (1,),
        expert=None if auto[3] else (1,),
    )  # fmt: skip
    found = serving_configurations(asked, load_catalog().gpus)
    assert dict(found.schema) == CONFIGURATION_SCHEMA
    for row in found.filter(pl.col("layout_reason").is_null()).iter_rows(named=True):
        ranks = row["tensor_parallel_size"] * row["data_parallel_size"]
        assert ranks * row["pipeline_parallel_size"] == count
        assert ranks % row["expert_parallel_size"] == 0
        assert count / row["nodes"] <= 8
        assert nodes or row["nodes"] == 1
    assert found.height >= 1  # a count without a layout stays, with its reason
    assert found.select("nodes", *SIZES).is_unique().all()


def test_stages_may_stand_on_nodes_of_their_own_where_nodes_may_be_crossed() -> None:
    layout = {"gpu_count": 4, "tensor_parallel_size": 2, "context_parallel_size": 1,
              "layout_reason": None}  # fmt: skip
    # Two stages of two GPUs: one node, or a node a stage; never the tensor ranks apart.
    assert node_counts(layout, 8, multi_node=True) == [1, 2]
    assert node_counts(layout, 8, multi_node=False) == [1]
    assert node_counts({**layout, "tensor_parallel_size": 4}, 8, multi_node=True) == [1]
    assert node_counts({**layout, "gpu_count": 16}, 8, multi_node=True) == [2, 4, 8]


def test_training_groups_may_stand_on_nodes_of_their_own() -> None:
    asked = supply(gpu_counts=(2,), tensor=(1,), multi_node=True, sharding=("ddp",))
    found = training_configurations(asked, load_catalog().gpus)
    assert found.select("data_parallel_size", "nodes").rows() == [(2, 1), (2, 2)]


TEXT = """\
version: 1
models: [meta-llama/Llama-3.1-8B-Instruct, Qwen/Qwen3-30B-A3B-Instruct-2507]
workloads:
  - name: chat
    method: inference
    matrix: {context_tokens: [2048], concurrent_sequences: [8]}
supply:
  gpus: [H100]
  gpu_counts: [2, 3, 8]
  parallel: {tensor: auto, pipeline: [1], expert: auto, data: auto}
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    return decide(open_scenario(write(tmp_path_factory.mktemp("layouts"), TEXT)))


def test_what_a_model_forbids_is_said_of_the_layout(cells: pl.DataFrame) -> None:
    reasons = dict(
        cells.filter(pl.col("verdict") == "impossible")
        .select(pl.format("{} TP{} EP{}", pl.col("model").str.slice(0, 4),
                          "tensor_parallel_size", "expert_parallel_size"), "reason")
        .rows()
    )  # fmt: skip
    assert reasons["meta TP3 EP1"] == (
        "32 attention heads are not divisible by tensor parallelism 3"
    )
    assert reasons["meta TP2 EP2"] == "expert parallelism: the model has no routed experts"


def test_experts_over_data_parallel_ranks_are_estimated_and_hold_fewer_weights(
    cells: pl.DataFrame,
) -> None:
    eight = cells.filter((pl.col("gpu_count") == 8) & pl.col("model").str.contains("A3B"))
    shares = {
        (row["tensor_parallel_size"], row["data_parallel_size"]): row["weights_part_bytes"]
        for row in eight.iter_rows(named=True)
        if row["expert_parallel_size"] == 8
    }
    assert set(shares) == {(1, 8), (2, 4), (4, 2), (8, 1)}
    # The experts are an eighth on each rank either way; the attention is copied.
    assert shares[1, 8] > shares[2, 4] > shares[8, 1]


def test_crossing_nodes_is_not_bought_by_default(tmp_path: Path) -> None:
    text = TEXT.replace("[2, 3, 8]", "[2]") + "  providers: [aws]\n"
    found = decide(open_scenario(write(tmp_path, text)))
    # AWS sells one or eight H100s: two in one machine means all eight.
    assert set(found["instance_type"].to_list()) == {"p5.48xlarge"}
    spread = decide(open_scenario(write(tmp_path, text.replace(
        "data: auto}", "data: auto, multi_node: true}").replace("pipeline: [1]", "pipeline: [1, 2]")
    )))  # fmt: skip
    crossing = spread.filter(pl.col("nodes") == 2)
    assert set(crossing["instance_type"].to_list()) == {"p5.4xlarge"}
    assert set(crossing["instances"].to_list()) == {2}
    assert crossing["usd_per_hour"].to_list() == pytest.approx([2 * 6.88] * crossing.height)


def test_layouts_left_to_the_engine_are_stages_of_layers_or_tensor_parallel() -> None:
    found = serving_configurations(
        supply(gpu_counts=(1, 4), engine_splits=True), load_catalog().gpus, layer_split=True
    ).select("tensor_parallel_size", "pipeline_parallel_size", "splits_layers")
    assert found.rows() == [(1, 1, None), (4, 1, False), (1, 4, True)]


@pytest.mark.parametrize(
    ("parallel", "expected"),
    [
        ("", {"vllm": {(1, 1), (2, 1)}, "llama.cpp": {(1, 1), (1, 2)}}),
        ("  parallel: {expert: 1}\n", {"vllm": {(1, 1), (2, 1)}, "llama.cpp": {(1, 1), (1, 2)}}),
        ("  parallel: {pipeline: 1}\n", {"vllm": {(1, 1), (2, 1)}, "llama.cpp": {(1, 1), (2, 1)}}),
        ("  parallel: {tensor: [2]}\n", {"vllm": {(1, 1), (2, 1)}, "llama.cpp": {(1, 1), (2, 1)}}),
    ],
)
def test_engines_split_layers_by_themselves_unless_a_layout_is_asked_for(
    tmp_path: Path, parallel: str, expected: dict[str, set[tuple[int, int]]]
) -> None:
    text = f"""\
version: 1
models: [meta-llama/Llama-3.1-8B-Instruct]
workloads:
  - {{name: a, method: inference, engine: vllm, context_tokens: 4096, concurrent_sequences: 1}}
  - {{name: b, method: inference, engine: llama.cpp, context_tokens: 4096, concurrent_sequences: 1}}
supply:
  gpus: [H100]
  gpu_counts: [1, 2]
{parallel}"""
    cells = decide(open_scenario(write(tmp_path, text)))
    layouts = ["tensor_parallel_size", "pipeline_parallel_size"]
    found = {
        engine: set(cells.filter(pl.col("engine") == engine).select(layouts).rows())
        for engine in ("vllm", "llama.cpp")
    }
    assert found == expected
