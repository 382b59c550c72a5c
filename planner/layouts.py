"""Parallel layouts: how a replica or a run spreads over its GPUs and nodes.

Pure: a Supply and the GPU table in, a frame of configurations out. Layouts are those that the
count of GPUs allows; what a model does not permit (heads, layers, experts) is said of each cell by
the estimators, so that the ways that lost are explained too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl

from planner.scenario.model import Supply

CONFIGURATION_SCHEMA: Final[dict[str, Any]] = {
    "configuration_index": pl.Int64,
    "gpu": pl.String,
    "gpu_count": pl.Int64,
    "nodes": pl.Int64,
    "tensor_parallel_size": pl.Int64,
    "pipeline_parallel_size": pl.Int64,
    "data_parallel_size": pl.Int64,
    "expert_parallel_size": pl.Int64,
    "context_parallel_size": pl.Int64,
    "sharding": pl.String,
    "layout_reason": pl.String,
    "splits_layers": pl.Boolean,
}
DEFAULT_GPUS_PER_NODE: Final = 8
"""Where the catalog names no limit: the size of the common server boards."""
_PLAIN: Final = {
    "nodes": 1,
    "tensor_parallel_size": 1,
    "pipeline_parallel_size": 1,
    "data_parallel_size": 1,
    "expert_parallel_size": 1,
    "context_parallel_size": 1,
    "sharding": "none",
    "layout_reason": None,
    "splits_layers": None,
}
_GIVEN: Final = frozenset({"gpu", "gpu_count", *_PLAIN})
Layout = dict[str, Any]


def serving_configurations(
    supply: Supply, gpus: pl.DataFrame, *, layer_split: bool = False
) -> pl.DataFrame:
    """GPU x count x layout for inference (CONFIGURATION_SCHEMA).

    A replica uses tensor x pipeline x data GPUs. Data parallelism inside a replica copies the
    attention and spreads the experts over all of its ranks; copies of a whole model are replicas.
    A count that no allowed layout uses up stays, with the reason in `layout_reason`.

    `layer_split`: where the supply leaves layouts to the engine, those of both kinds of engines
    are there. `splits_layers` is true for stages of layers, one a GPU, which are for engines that
    deal layers to GPUs by themselves, false for tensor parallelism, which is for the others, and
    null for what is for any.
    """
    rows = []
    for count in supply.gpu_counts:
        layouts = list(_serving_layouts(count, supply))
        if layer_split and supply.engine_splits:
            layouts = [*_marked(layouts), *_layer_split(count)]
        rows += _or_reason(count, layouts, supply)
    return _configurations(rows, supply, gpus)


def _serving_layouts(count: int, supply: Supply) -> Iterator[Layout]:
    for tensor in _divisors(count):
        for pipeline in _divisors(count // tensor):
            data = count // tensor // pipeline
            if not (
                _allowed(tensor, supply.tensor)
                and _allowed(pipeline, supply.pipeline)
                and _allowed(data, supply.data)
            ):
                continue
            for expert in _expert_sizes(tensor, data, supply.expert):
                yield {
                    "tensor_parallel_size": tensor,
                    "pipeline_parallel_size": pipeline,
                    "data_parallel_size": data,
                    "expert_parallel_size": expert,
                }


def _marked(layouts: Sequence[Layout]) -> Iterator[Layout]:
    for layout in layouts:
        whole = layout["tensor_parallel_size"] == 1
        yield {**layout, "splits_layers": None if whole else False}


def _layer_split(count: int) -> Iterator[Layout]:
    """Stages of layers over all GPUs of a count."""
    if count > 1:
        yield {"pipeline_parallel_size": count, "splits_layers": True}


def _expert_sizes(tensor: int, data: int, asked: tuple[int, ...] | None) -> tuple[int, ...]:
    """Sizes over which the experts of a stage can be spread.

    With data parallelism they are spread over all ranks of the stage: that is what it is for.
    """
    ranks = tensor * data
    if data > 1:
        return (ranks,)
    if asked is None:
        return (1, ranks) if ranks > 1 else (1,)
    return tuple(size for size in asked if size == 1 or (ranks > 1 and ranks % size == 0))


def training_configurations(supply: Supply, gpus: pl.DataFrame) -> pl.DataFrame:
    """GPU x count x layout for training (CONFIGURATION_SCHEMA).

    What tensor, pipeline and context parallelism leave over becomes data parallelism, sharded as
    asked for. `auto` is one for tensor and context: sharding does their work.
    """
    rows = []
    for count in supply.gpu_counts:
        rows += _or_reason(count, list(_training_layouts(count, supply)), supply)
    return _configurations(rows, supply, gpus)


def _training_layouts(count: int, supply: Supply) -> Iterator[Layout]:
    for tensor in supply.tensor or (1,):
        for pipeline in supply.pipeline or _divisors(count):
            for context in supply.context or (1,):
                data, rest = divmod(count, tensor * pipeline * context)
                if rest or not data:
                    continue
                kinds = ("ddp", "fsdp") if supply.sharding is None else supply.sharding
                for sharding in kinds if data * context > 1 else ("none",):
                    yield {
                        "tensor_parallel_size": tensor,
                        "pipeline_parallel_size": pipeline,
                        "context_parallel_size": context,
                        "data_parallel_size": data,
                        "sharding": sharding,
                    }


def _or_reason(count: int, layouts: Sequence[Layout], supply: Supply) -> list[Layout]:
    if layouts:
        return [{**_PLAIN, "gpu_count": count, **layout} for layout in layouts]
    said = [f"tensor {_sizes(supply.tensor)}", f"pipeline {_sizes(supply.pipeline)}"]
    if supply.data != (1,):
        said.append(f"data {_sizes(supply.data)}")
    words = f"{', '.join(said[:-1])} and {said[-1]}"
    reason = f"no layout with {words} uses {count} GPUs"
    return [{**_PLAIN, "gpu_count": count, "layout_reason": reason}]


def node_counts(layout: Mapping[str, Any], per_node: int, *, multi_node: bool) -> list[int]:
    """Nodes that a layout may spread over: the fewest that hold it, and whole parts of it more.

    Only pipeline stages and data-parallel groups are put on nodes of their own; tensor
    parallelism stays inside a node as long as it fits one. Smaller nodes are what is sold where
    there is no large instance.
    """
    count = int(layout["gpu_count"])
    fewest = -(-count // per_node)
    if not multi_node or layout["layout_reason"]:
        return [fewest]
    together = int(layout["tensor_parallel_size"]) * int(layout["context_parallel_size"])
    parts = count // together
    return [fewest] + [
        nodes
        for nodes in _divisors(parts)
        if nodes > fewest and count // nodes <= per_node and (count // nodes) % together == 0
    ]


def _configurations(layouts: Sequence[Layout], supply: Supply, gpus: pl.DataFrame) -> pl.DataFrame:
    limits = dict(gpus.select("gpu", "max_gpus_per_node").iter_rows())
    by_limit: dict[int, list[Layout]] = {}
    rows: list[Layout] = []
    for gpu in supply.gpus:
        per_node = limits.get(gpu) or DEFAULT_GPUS_PER_NODE
        if per_node not in by_limit:
            by_limit[per_node] = list(_on_nodes(layouts, per_node, supply))
        rows += [{"gpu": gpu, **layout} for layout in by_limit[per_node]]
    given = {name: kind for name, kind in CONFIGURATION_SCHEMA.items() if name in _GIVEN}
    frame = pl.DataFrame(rows, schema=given, orient="row")
    return frame.with_columns(configuration_index=pl.int_range(pl.len(), dtype=pl.Int64)).select(
        pl.col(name).cast(kind) for name, kind in CONFIGURATION_SCHEMA.items()
    )


def _on_nodes(layouts: Sequence[Layout], per_node: int, supply: Supply) -> Iterator[Layout]:
    for layout in layouts:
        for nodes in node_counts(layout, per_node, multi_node=supply.multi_node):
            reason = layout["layout_reason"]
            if nodes > 1 and not supply.multi_node:
                reason = f"{layout['gpu_count']} GPUs need {nodes} nodes and multi_node is off"
            yield {**layout, "nodes": nodes, "layout_reason": reason}


def _divisors(count: int) -> tuple[int, ...]:
    return tuple(size for size in range(1, count + 1) if count % size == 0)


def _allowed(size: int, sizes: tuple[int, ...] | None) -> bool:
    return sizes is None or size in sizes


def _sizes(sizes: tuple[int, ...] | None) -> str:
    return "auto" if sizes is None else "|".join(map(str, sizes))
