"""Ranks join twice a layer; what that costs over NVLink, PCIe or the network."""

from __future__ import annotations

import polars as pl

_ACTIVATION_BYTES = 2.0
_JOINS_PER_LAYER = 2.0


def link_bytes_per_second() -> pl.Expr:
    """Achieved one-way bytes per second of one rank to the others.

    The catalog's interconnect figure counts both directions. Between nodes the network's rate
    holds; a card without a figure is taken to sit on PCIe.
    """
    inside = pl.col("s_interconnect_bytes_per_second").fill_null(
        2 * pl.col("s_pcie_bytes_per_second")
    )
    one_way = inside / 2 * pl.col("s_all_reduce_bandwidth_fraction")
    return pl.when(_crosses_nodes()).then(pl.col("s_network_bytes_per_second")).otherwise(one_way)


def _crosses_nodes() -> pl.Expr:
    ranks_per_node = pl.col("s_ranks") * pl.col("s_pp") / pl.col("s_nodes")
    return (pl.col("s_nodes") > 1) & (pl.col("s_ranks") > ranks_per_node)


def _on_fabric() -> pl.Expr:
    """Whether ranks share a switched fabric (NVLink, Infinity Fabric) and not PCIe."""
    return ~pl.col("s_interconnect").fill_null("PCIe").str.contains("(?i)pcie")


def all_reduce_seconds(tokens: pl.Expr) -> pl.Expr:
    """Joining the ranks in every layer of one pass over `tokens` tokens.

    Latency grows with the logarithm of the ranks; a ring moves 2 (n - 1) / n of the activations.
    Source: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms", 2009.
    """
    ranks = pl.col("s_ranks")
    latency = (
        pl.when(_crosses_nodes())
        .then("s_network_us")
        .when(_on_fabric())
        .then("s_all_reduce_us")
        .otherwise("s_pcie_all_reduce_us")
        * 1e-6
        * ranks.log(2)
    )
    volume = tokens * pl.col("s_hidden_size") * _ACTIVATION_BYTES
    moved = 2 * (ranks - 1) / ranks * volume / link_bytes_per_second()
    joins = _JOINS_PER_LAYER * pl.col("s_num_hidden_layers")
    return pl.when(ranks > 1).then(joins * (latency + moved)).otherwise(0.0)
