"""CLIP, and towers of its shape: MiniMax-M3's, BLIP-2's, Llama 3.2's and 4's."""

from __future__ import annotations

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Sheet
from planner.resolve.arch.towers.block import Tower, patches, side, write_block


def clip(config: Config, s: Sheet) -> None:
    """The vision half of CLIP."""
    h, p = config.hidden_size, side(config.patch_size)
    s.param("embeddings.class_embedding", h)
    s.conv("embeddings.patch_embedding", h, config.num_channels, p, p, bias=False)
    s.embedding("embeddings.position_embedding", patches(config) + 1, h)
    s.norm("pre_layrnorm", h, "layer")
    write_block(
        s.at("encoder.layers.{j}", copies=config.num_hidden_layers), h, config.intermediate_size
    )
    s.norm("post_layernorm", h, "layer")


def minimax_vision(config: Config, s: Sheet) -> None:
    """MiniMax-M3's tower: CLIP over patches of several frames."""
    h, p, t = config.hidden_size, config.patch_size, config.temporal_patch_size
    s.conv("embeddings.proj", h, config.num_channels, t, p, p, bias=False)
    s.norm("pre_layrnorm", h, "layer")
    write_block(s.at("layers.{j}", copies=config.num_hidden_layers), h, config.intermediate_size)


def blip2_vision(config: Config, s: Sheet) -> None:
    """EVA-CLIP as BLIP-2 uses it."""
    h, p = config.hidden_size, config.patch_size
    e = s.at("embeddings")
    e.param("class_embedding", 1, 1, h)
    e.param("position_embedding", 1, patches(config) + 1, h)
    e.conv("patch_embedding", h, 3, p, p)
    write_block(
        s.at("encoder.layers.{j}", copies=config.num_hidden_layers),
        h,
        config.intermediate_size,
        names=("qkv", "projection"),
        qkv_bias=bool(config.get("qkv_bias", True)),
    )
    s.norm("post_layernorm", h, "layer")


MLLAMA_RATIOS = ((1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (3, 1), (4, 1))


def mllama(config: Config, s: Sheet) -> None:
    """Llama 3.2's tower with tile positions and gated global layers."""
    h, p, inner = config.hidden_size, config.patch_size, config.intermediate_size
    count, tiles = patches(config) + 1, config.max_num_tiles
    rows = len(config.get("supported_aspect_ratios", MLLAMA_RATIOS)) + 1
    s.param("class_embedding", h)
    s.conv("patch_embedding", h, config.num_channels, p, p, bias=False)
    s.param("gated_positional_embedding.gate", 1)
    s.param("gated_positional_embedding.embedding", count, h)
    s.embedding("gated_positional_embedding.tile_embedding", rows, tiles * count * h)
    for name in ("pre_tile_positional_embedding", "post_tile_positional_embedding"):
        s.param(f"{name}.gate", 1)
        s.embedding(f"{name}.embedding", rows, tiles * h)
    s.norm("layernorm_pre", h, "layer")
    s.norm("layernorm_post", h, "layer")
    stacks = (
        ("transformer.layers.{j}", config.num_hidden_layers),
        ("global_transformer.layers.{j}", config.num_global_layers),
    )
    for name, copies in stacks:
        b = s.at(name, copies=copies)
        if name.startswith("global"):
            b.param("gate_attn", 1)
            b.param("gate_ffn", 1)
        write_block(
            b,
            h,
            inner,
            names=("q_proj", "k_proj", "v_proj", "o_proj"),
            qkv_bias=False,
            out_bias=False,
            norms=("input_layernorm", "post_attention_layernorm"),
        )


def llama4(config: Config, s: Sheet) -> None:
    """Llama 4's tower with its pixel-shuffling adapter."""
    h, p, inner = config.hidden_size, config.patch_size, config.intermediate_size
    s.param("class_embedding", h)
    s.param("positional_embedding_vlm", patches(config) + 1, h)
    s.linear("patch_embedding.linear", config.num_channels * p * p, h)
    s.norm("layernorm_pre", h, "layer")
    s.norm("layernorm_post", h, "layer")
    write_block(
        s.at("model.layers.{j}", copies=config.num_hidden_layers),
        h,
        inner,
        names=("q_proj", "k_proj", "v_proj", "o_proj"),
        norms=("input_layernorm", "post_attention_layernorm"),
    )
    a = s.at("vision_adapter.mlp")
    a.linear("fc1", inner, config.projector_input_dim)
    a.linear("fc2", config.projector_output_dim, config.projector_output_dim)


TOWERS: dict[str, Tower] = {
    "minimax_m3_vl_vision": minimax_vision,
    "mllama_vision_model": mllama,
    "llama4_vision_model": llama4,
    "clip_vision_model": clip,
}
