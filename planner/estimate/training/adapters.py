"""LoRA and DoRA: adapter parameters and what adapted linears save, from the tensor table.

`adapter_sums` returns one row per (model, lora_targets): over the whole model, by block (attention
or MLP) and by side (`in`: fed by a norm, `out`: the row-parallel projection back).
"""

from __future__ import annotations

from typing import Final

import polars as pl

ALL_LINEAR: Final = "all-linear"
EXPERT_RANKS_GATE_UP: Final = 2.0
BLOCKS: Final = ("attention", "mlp", "experts")
SIDES: Final = ("in", "out")


def adapter_sums(pairs: pl.LazyFrame, tensors: pl.LazyFrame) -> pl.LazyFrame:
    """Sums over the linears that LoRA adapts, for each pair of `model` and `lora_targets`.

    Columns, for the whole model: `adapter_in_out` (sum of in + out features: times the rank it is
    the parameter count), `adapter_rows` (sum of out features, DoRA's magnitudes),
    `adapter_tensors`, and per block and side `<block>_<side>_features` (sum of in features) and
    `<block>_<side>_adapters` (count); `largest_adapted_out` (elements).
    """
    wanted = (
        pairs.select("model", "lora_targets")
        .unique()
        .with_columns(target=pl.col("lora_targets").str.split(";"))
        .explode("target")
    )
    linears = _adaptable(tensors)
    named = wanted.join(linears, left_on=["model", "target"], right_on=["model", "leaf"])
    every = wanted.filter(pl.col("target") == ALL_LINEAR).join(
        linears.drop("leaf").filter(pl.col("all_linear")), on="model"
    )
    columns = ["model", "lora_targets", "block", "side", "count", "sum_in", "sum_out", "adapters"]
    sizes = [*columns, "out_features"]
    return (
        pl.concat([named.select(sizes), every.select(sizes)])
        .group_by("model", "lora_targets")
        .agg(
            adapter_in_out=(pl.col("sum_in") + pl.col("sum_out")).sum(),
            adapter_rows=pl.col("sum_out").sum(),
            adapter_tensors=2 * pl.col("count").sum(),
            largest_adapted_out=pl.col("out_features").max(),
            **_by_block(),
        )
    )


def _adaptable(tensors: pl.LazyFrame) -> pl.LazyFrame:
    """Linears of the text model outside the head, and fused experts, with block and side."""
    experts = pl.col("kind") == "experts"
    router = pl.col("role") == "router"
    block = (
        pl.when(experts | router)
        .then(pl.lit("experts"))
        .when(pl.col("role").is_in(["attention", "mixer"]))
        .then(pl.lit("attention"))
        .otherwise(pl.lit("mlp"))
    )
    # A fused expert weight (experts, out, in) gets an adapter of rank r x experts.
    copies = pl.when(experts).then(pl.col("numel") / _matrix()).otherwise(1.0)
    doubled = pl.when(experts & pl.col("name").str.contains("gate_up")).then(2.0).otherwise(1.0)
    return (
        tensors.filter(
            (pl.col("kind").is_in(["linear", "experts"]) | router)
            & ~pl.col("role").is_in(["multimodal"])
            & (pl.col("in_features") > 0)
        )
        .with_columns(
            block=block,
            side=pl.when(pl.col("split") == "row").then(pl.lit("out")).otherwise(pl.lit("in")),
            leaf=pl.when(experts).then(pl.col("name").str.split(".").list.last()).otherwise("leaf"),
            all_linear=pl.col("role") != "lm_head",
            adapters=pl.col("count") * 1.0,
            sum_in=pl.col("count") * pl.col("in_features") * copies * doubled,
            sum_out=pl.col("count") * pl.col("out_features") * copies * doubled,
        )
        .select(
            "model",
            "leaf",
            "block",
            "side",
            "all_linear",
            "count",
            "sum_in",
            "sum_out",
            "adapters",
            "out_features",
        )
    )


def _matrix() -> pl.Expr:
    return (pl.col("in_features") * pl.col("out_features")).clip(1)


def _by_block() -> dict[str, pl.Expr]:
    sums: dict[str, pl.Expr] = {}
    for block in BLOCKS:
        for side in SIDES:
            here = (pl.col("block") == block) & (pl.col("side") == side)
            sums[f"{block}_{side}_features"] = pl.col("sum_in").filter(here).sum()
            sums[f"{block}_{side}_adapters"] = pl.col("adapters").filter(here).sum()
    return sums


def saved_adapter(block: str) -> pl.Expr:
    """Bytes per token that the adapters of one block save in one layer.

    Adapters wider than the compute dtype keep an fp32 copy of each input, or under autocast a
    16-bit one; adapters in the compute dtype share the input with each other. Each keeps its
    rank-wide product, and dropout a mask of its input. Columns: `<block>_<side>_features` and
    `..._adapters` per layer, `adapter_bytes`, `autocast`, `lora_rank`, `lora_dropout`.
    Source: peft LoRA Linear; checked against the training oracle.
    """
    features = pl.col(f"{block}_in_features") + pl.col(f"{block}_out_features")
    count = pl.col(f"{block}_in_adapters") + pl.col(f"{block}_out_adapters")
    copies = pl.when(casts_inputs()).then(cast_bytes()).otherwise(0.0) * features
    drops = pl.col("lora_dropout") > 0
    mask = pl.when(drops).then(features).otherwise(0.0)
    # Without a cast, dropout's result is a new tensor for each adapted linear.
    dropped = pl.when(drops & ~casts_inputs()).then(pl.col("compute") * features).otherwise(0.0)
    shared = pl.when(casts_inputs() | drops).then(0.0).otherwise(_shared_input(block))
    rank = pl.col("adapter_bytes") * pl.col("lora_rank") * count
    return copies + mask + dropped + shared + rank


def casts_inputs() -> pl.Expr:
    """Each adapted linear keeps its own cast of the input."""
    return pl.col("autocast") | (pl.col("adapter_bytes") != pl.col("stream"))


def cast_bytes() -> pl.Expr:
    """Bytes an element of that cast: the adapter's dtype, or autocast's."""
    return pl.when("autocast").then("compute").otherwise("adapter_bytes")


def _shared_input(block: str) -> pl.Expr:
    """The norm's output, kept once for all adapters that it feeds."""
    fed = pl.col(f"{block}_in_adapters") > 0
    return pl.when(fed).then(pl.col("compute") * pl.col("hidden")).otherwise(0.0)


def product_shared() -> pl.Expr:
    """1.0 where an adapter keeps the MLP's product itself instead of a cast of it."""
    fed = (pl.col("mlp_out_adapters") > 0) & ~casts_inputs() & (pl.col("lora_dropout") <= 0)
    return fed.cast(pl.Float64)
