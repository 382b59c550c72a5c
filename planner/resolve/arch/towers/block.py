"""The transformer block that most towers are made of."""

from __future__ import annotations

from collections.abc import Callable

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Sheet

Tower = Callable[[Config, Sheet], None]
QKVO = ("q_proj", "k_proj", "v_proj", "out_proj")


def write_block(
    s: Sheet,
    h: int,
    inner: int,
    *,
    attention: str = "self_attn",
    names: tuple[str, ...] = QKVO,
    qkv_bias: bool = True,
    out_bias: bool = True,
    mlp: str = "mlp",
    mlp_names: tuple[str, ...] = ("fc1", "fc2"),
    mlp_bias: bool = True,
    norms: tuple[str, ...] = ("layer_norm1", "layer_norm2"),
    norm_kind: str = "layer",
    kv: int | None = None,
) -> None:
    """One encoder block. Two names in `names` mean a fused projection, three in `mlp_names` a gate.

    `kv` is the width of keys and values together over all heads, where it is not the model's.
    """
    a = s.at(attention) if attention else s
    wide = h if kv is None else kv
    if len(names) == 2:
        a.linear(names[0], h, h + 2 * wide, bias=qkv_bias)
        a.linear(names[1], h, h, bias=out_bias, split="row")
    else:
        a.linear(names[0], h, h, bias=qkv_bias)
        a.linear(names[1], h, wide, bias=qkv_bias)
        a.linear(names[2], h, wide, bias=qkv_bias)
        a.linear(names[3], h, h, bias=out_bias, split="row")
    m = s.at(mlp) if mlp else s
    for name in mlp_names[:-1]:
        m.linear(name, h, inner, bias=mlp_bias)
    m.linear(mlp_names[-1], inner, h, bias=mlp_bias, split="row")
    for name in norms:
        s.norm(name, h, norm_kind)


def patches(config: Config) -> int:
    """Square patches of the square image the tower is made for."""
    image, patch = config.image_size, config.patch_size
    if isinstance(image, list):
        return int((image[0] // side(patch)) * (image[1] // side(patch)))
    return int((image // side(patch)) ** 2)


def side(value: int | list[int]) -> int:
    """A patch's side, which some files give twice."""
    return value[0] if isinstance(value, list) else value
