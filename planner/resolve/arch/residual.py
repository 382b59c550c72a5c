"""Hyper-connections: several residual streams that each layer mixes (arXiv 2409.19606)."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Plan, Sheet


def hyper_connections(config: Config, _: Plan, sheet: Sheet) -> None:
    """Manifold-constrained hyper-connections round attention and experts."""
    n = int(config.hc_mult)
    _connections(config, sheet, mixes=n * n + 2 * n, scales=3)


def plain_connections(config: Config, _: Plan, sheet: Sheet) -> None:
    """The same without weights between the streams."""
    _connections(config, sheet, mixes=2 * int(config.hc_mult), scales=2)


def _connections(config: Config, sheet: Sheet, *, mixes: int, scales: int) -> None:
    for name in ("attn_hc", "ffn_hc"):
        s = sheet.at(name, "attention" if name == "attn_hc" else "mlp")
        s.param("fn", mixes, int(config.hc_mult) * config.hidden_size)
        s.param("base", mixes)
        s.param("scale", scales)


def stream_head(config: Config, _: Plan, s: Sheet) -> None:
    """What joins the streams behind the last layer."""
    n = int(config.hc_mult)
    s.param("hc_head.hc_fn", n, n * config.hidden_size, role="other")
    s.param("hc_head.hc_base", n, role="other")
    s.param("hc_head.hc_scale", 1, role="other")
