"""The querying transformer of BLIP-2."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import Tower


def qformer(
    config: Config,
    s: Sheet,
    seen: int | None = None,
    *,
    first_norm: bool = True,
    own: int = 0,
) -> None:
    """The querying transformer of BLIP-2; `seen` is the width of what it looks at.

    `own` is its own width, where the config's is not meant.
    """
    seen = config.encoder_hidden_size if seen is None else seen
    h, inner, n = own or config.hidden_size, config.intermediate_size, config.num_hidden_layers
    if first_norm:
        s.norm("layernorm", h, "layer")
    crossing = len(range(0, n, config.cross_attention_frequency))
    for name, width, copies in (
        ("attention", h, n),
        ("crossattention", seen, crossing),
    ):
        a = s.at(f"encoder.layer.{{j}}.{name}", copies=copies)
        a.linear("attention.query", h, h, bias=True)
        a.linear("attention.key", width, h, bias=True)
        a.linear("attention.value", width, h, bias=True)
        a.linear("output.dense", h, h, bias=True)
        a.norm("output.LayerNorm", h, "layer")
    b = s.at("encoder.layer.{j}", copies=n)
    routes = ["_query"] + ([""] if config.get("use_qformer_text_input") else [])
    for route in routes:
        b.linear(f"intermediate{route}.dense", h, inner, bias=True)
        b.linear(f"output{route}.dense", inner, h, bias=True)
        b.norm(f"output{route}.LayerNorm", h, "layer")


TOWERS: dict[str, Tower] = {
    "blip_2_qformer": qformer,
}
