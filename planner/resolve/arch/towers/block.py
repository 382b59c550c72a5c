"""Vision towers: the shared transformer block, and the encoders in common use over it."""

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
        return int((image[0] // _one(patch)) * (image[1] // _one(patch)))
    return int((image // _one(patch)) ** 2)


def _one(value: int | list[int]) -> int:
    return value[0] if isinstance(value, list) else value


def siglip(config: Config, s: Sheet) -> None:
    """SigLIP, with its pooling head where the config keeps it."""
    h, p = config.hidden_size, _one(config.patch_size)
    s.conv("embeddings.patch_embedding", h, config.num_channels, p, p)
    s.embedding("embeddings.position_embedding", patches(config), h)
    _siglip_body(config, s)


def siglip2(config: Config, s: Sheet) -> None:
    """SigLIP 2 with patches flattened before their projection."""
    h, p = config.hidden_size, config.patch_size
    s.linear("embeddings.patch_embedding", config.num_channels * p * p, h, bias=True)
    s.embedding("embeddings.position_embedding", config.num_patches, h)
    _siglip_body(config, s)


def _siglip_body(config: Config, s: Sheet) -> None:
    h, inner = config.hidden_size, config.intermediate_size
    write_block(s.at("encoder.layers.{j}", copies=config.num_hidden_layers), h, inner)
    s.norm("post_layernorm", h, "layer")
    if config.get("vision_use_head", True):
        x = s.at("head")
        x.param("probe", 1, 1, h)
        x.param("attention.in_proj_weight", 3 * h, h)
        x.param("attention.in_proj_bias", 3 * h)
        x.linear("attention.out_proj", h, h, bias=True)
        x.norm("layernorm", h, "layer")
        x.linear("mlp.fc1", h, inner, bias=True)
        x.linear("mlp.fc2", inner, h, bias=True)


def clip(config: Config, s: Sheet) -> None:
    """The vision half of CLIP."""
    h, p = config.hidden_size, _one(config.patch_size)
    s.param("embeddings.class_embedding", h)
    s.conv("embeddings.patch_embedding", h, config.num_channels, p, p, bias=False)
    s.embedding("embeddings.position_embedding", patches(config) + 1, h)
    s.norm("pre_layrnorm", h, "layer")
    write_block(
        s.at("encoder.layers.{j}", copies=config.num_hidden_layers), h, config.intermediate_size
    )
    s.norm("post_layernorm", h, "layer")


def pixtral(config: Config, s: Sheet) -> None:
    """Pixtral's encoder with rotary positions."""
    h, p = config.hidden_size, config.patch_size
    s.conv("patch_conv", h, config.num_channels, p, p, bias=False)
    s.norm("ln_pre", h, "rms")
    write_block(
        s.at("transformer.layers.{j}", copies=config.num_hidden_layers),
        h,
        config.intermediate_size,
        attention="attention",
        names=("q_proj", "k_proj", "v_proj", "o_proj"),
        qkv_bias=False,
        out_bias=False,
        mlp="feed_forward",
        mlp_names=("gate_proj", "up_proj", "down_proj"),
        mlp_bias=False,
        norms=("attention_norm", "ffn_norm"),
        norm_kind="rms",
    )


def internvl(config: Config, s: Sheet) -> None:
    """InternViT."""
    h, p = config.hidden_size, _one(config.patch_size)
    e = s.at("embeddings")
    e.param("cls_token", 1, 1, h)
    if config.get("use_mask_token"):
        e.param("mask_token", 1, 1, h)
    if config.get("use_absolute_position_embeddings"):
        e.param("position_embeddings", 1, patches(config) + 1, h)
    e.conv("patch_embeddings.projection", h, config.num_channels, p, p)
    b = s.at("encoder.layer.{j}", copies=config.num_hidden_layers)
    b.param("lambda_1", h)
    b.param("lambda_2", h)
    kind = "rms" if config.get("norm_type") == "rms_norm" else "layer"
    write_block(
        b,
        h,
        config.intermediate_size,
        attention="attention",
        names=("q_proj", "k_proj", "v_proj", "projection_layer"),
        qkv_bias=bool(config.get("attention_bias")),
        norms=("layernorm_before", "layernorm_after"),
        norm_kind=kind,
    )
    if config.get("use_qk_norm"):
        b.norm("attention.q_norm", h, "rms")
        b.norm("attention.k_norm", h, "rms")
    if not config.get("use_mean_pooling", True):
        s.norm("layernorm", h, "layer")


def qwen2_vl(config: Config, s: Sheet) -> None:
    """Qwen2-VL's tower and patch merger."""
    h, p, t = config.embed_dim, config.patch_size, config.temporal_patch_size
    s.conv("patch_embed.proj", h, config.in_channels, t, p, p, bias=False)
    write_block(
        s.at("blocks.{j}", copies=config.depth),
        h,
        int(h * config.mlp_ratio),
        attention="attn",
        names=("qkv", "proj"),
        norms=("norm1", "norm2"),
    )
    _merger(s, h, config.spatial_merge_size, config.hidden_size, "layer")


def _merger(s: Sheet, h: int, merge: int, out: int, kind: str) -> None:
    wide = h * merge**2
    m = s.at("merger")
    m.norm("ln_q", h, kind)
    m.linear("mlp.0", wide, wide, bias=True)
    m.linear("mlp.2", wide, out, bias=True)


def qwen2_5_vl(config: Config, s: Sheet) -> None:
    """Qwen2.5-VL's tower with gated MLPs; EXAONE 4.5's has fewer key-value heads."""
    qwen2_5_vl_body(config, s, names=("qkv", "proj"))


def qwen2_5_vl_body(config: Config, s: Sheet, names: tuple[str, ...]) -> None:
    """The same, with the names of its attention projections."""
    h, p, t = config.hidden_size, config.patch_size, config.temporal_patch_size
    kv = config.get("num_key_value_heads")
    s.conv("patch_embed.proj", h, config.in_channels, t, p, p, bias=False)
    write_block(
        s.at("blocks.{j}", copies=config.depth),
        h,
        config.intermediate_size,
        attention="attn",
        names=names,
        mlp_names=("gate_proj", "up_proj", "down_proj"),
        norms=("norm1", "norm2"),
        norm_kind="rms",
        kv=int(kv) * (h // config.num_heads) if kv else None,
    )
    _merger(s, h, config.spatial_merge_size, config.out_hidden_size, "rms")


def qwen3_vl(config: Config, s: Sheet) -> None:
    """Qwen3-VL's tower with mergers of intermediate layers."""
    h, p, t = config.hidden_size, config.patch_size, config.temporal_patch_size
    s.conv("patch_embed.proj", h, config.in_channels, t, p, p)
    s.embedding("pos_embed", config.num_position_embeddings, h)
    write_block(
        s.at("blocks.{j}", copies=config.depth),
        h,
        config.intermediate_size,
        attention="attn",
        names=("qkv", "proj"),
        mlp_names=("linear_fc1", "linear_fc2"),
        norms=("norm1", "norm2"),
    )
    wide = h * config.spatial_merge_size**2
    deep = config.get("deepstack_visual_indexes", [])
    mergers = [("merger", 1, h)]
    if deep:
        mergers.append(("deepstack_merger_list.{j}", len(deep), wide))
    for name, count, normed in mergers:
        m = s.at(name, copies=count)
        m.norm("norm", normed, "layer")
        m.linear("linear_fc1", wide, wide, bias=True)
        m.linear("linear_fc2", wide, config.out_hidden_size, bias=True)


TOWERS: dict[str, Tower] = {
    "siglip_vision_model": siglip,
    "siglip2_vision_model": siglip2,
    "clip_vision_model": clip,
    "pixtral": pixtral,
    "internvl_vision": internvl,
    "qwen2_vl": qwen2_vl,
    "qwen2_vl_vision": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen2_5_vl_vision": qwen2_5_vl,
    "qwen2_5_omni_vision_encoder": qwen2_5_vl,
    "exaone4_5_vision": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "qwen3_vl_vision": qwen3_vl,
    "qwen3_vl_moe": qwen3_vl,
    "qwen3_vl_moe_vision": qwen3_vl,
    "cohere_compass_vision": qwen3_vl,
    "qwen3_5": qwen3_vl,
    "qwen4_exp_vision": qwen3_vl,
    "qwen3_5_vision": qwen3_vl,
    "qwen3_5_moe": qwen3_vl,
    "qwen3_5_moe_vision": qwen3_vl,
}


def write_tower(config: Config, s: Sheet) -> None:
    """The tower of a nested config, by its model type."""
    tower = TOWERS.get(config.model_type)
    if tower is None:
        raise config.problem(
            f"vision or audio towers of type '{config.model_type}' are not covered; --derive reads"
            " them from the real class"
        )
    tower(config, s)
