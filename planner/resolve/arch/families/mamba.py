"""Mamba, and hybrids of it with attention."""

from __future__ import annotations

from planner.resolve.arch.attention import gqa
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.layers import LINEAR, depth, layer_types, windowed
from planner.resolve.arch.mlp import gated, granite_shared, moe, plain
from planner.resolve.arch.recurrent import mamba1, mamba2
from planner.resolve.arch.sheet import Block, Plan, Sheet


def _expanded(config: Config) -> int:
    return int(config.mamba_expand * config.hidden_size)


def _mamba1_width(config: Config) -> int:
    """The width that the file gives (falcon-mamba) or else expand times the hidden size."""
    if config.given("intermediate_size") and config.get("intermediate_size"):
        return int(config.intermediate_size)
    return int(config.expand * config.hidden_size)


def _only_mamba(config: Config) -> list[Plan]:
    return [Plan("linear", None, "none")] * depth(config)


MAMBA_PREFIXED = mamba2(
    scope="mamba",
    inner=_expanded,
    num_heads="mamba_n_heads",
    groups="mamba_n_groups",
    state="mamba_d_state",
    kernel="mamba_d_conv",
    bias="mamba_proj_bias",
    conv_bias="mamba_conv_bias",
)


def _bamba_plan(config: Config) -> list[Plan]:
    attending = set(config.get("attn_layer_indices", []))
    return [Plan("full" if i in attending else "linear") for i in range(depth(config))]


def _jamba_plan(config: Config) -> list[Plan]:
    plans = []
    for i in range(depth(config)):
        attends = i % config.attn_layer_period == config.attn_layer_offset
        sparse = i % config.expert_layer_period == config.expert_layer_offset
        plans.append(
            Plan(
                "full" if attends else "linear",
                None,
                "moe" if sparse and config.num_experts > 1 else "dense",
            )
        )
    return plans


def _granite_hybrid_types(config: Config) -> list[str]:
    return layer_types(config, lambda _: "linear_attention")


def _granite_hybrid_mlps(config: Config) -> list[str]:
    return ["moe" if config.num_local_experts else "none"] * depth(config)


NEMOTRON_LETTERS = {"M": "linear_attention", "E": "moe", "*": "full_attention", "-": "mlp"}


def _nemotron_plan(config: Config) -> list[Plan]:
    pattern = config.get("hybrid_override_pattern")
    listed = config.first("layer_types", "layers_block_type")
    if listed is None and pattern is not None:
        listed = [NEMOTRON_LETTERS[letter] for letter in pattern]
    if listed is None:
        listed = ["linear_attention", "moe", "full_attention", "mlp"]
    plans = {
        "linear_attention": Plan("linear", None, "none"),
        "mamba": Plan("linear", None, "none"),
        "full_attention": Plan("full", None, "none"),
        "attention": Plan("full", None, "none"),
        "mlp": Plan("none", None, "dense"),
        "moe": Plan("none", None, "moe"),
    }
    for kind in listed:
        if kind not in plans:
            raise config.problem(f"unknown layer type '{kind}'")
    return [plans[kind] for kind in listed]


def _nemotron_moe(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Two-matrix experts, in a narrower latent space where the config has one."""
    s = sheet.at("mixer", "mixer")
    h, e, width = config.hidden_size, config.n_routed_experts, config.moe_intermediate_size
    latent = config.get("moe_latent_size")
    s.param("gate.weight", e, h, role="router")
    inner = latent or h
    s.experts("experts.up_proj", e, inner, width)
    s.experts("experts.down_proj", e, width, inner)
    shared = int(config.moe_shared_expert_intermediate_size)
    bias = bool(config.get("mlp_bias", False))
    x = s.at("shared_experts", "shared_experts")
    x.linear("up_proj", h, shared, bias=bias)
    x.linear("down_proj", shared, h, bias=bias, split="row")
    if latent:
        s.linear("fc1_latent_proj", h, latent, bias=bias)
        s.linear("fc2_latent_proj", latent, h, bias=bias)
    sheet.layer.update(
        mlp="moe",
        num_experts=e,
        num_experts_per_tok=config.num_experts_per_tok,
        moe_intermediate_size=width,
        shared_intermediate_size=shared,
    )


def _falcon_h1_layer(config: Config, plan: Plan, sheet: Sheet) -> None:
    width = config.get("mamba_d_ssm") or config.mamba_expand * config.hidden_size
    mamba2(
        scope="mamba",
        inner=lambda _: int(width),
        num_heads="mamba_n_heads",
        groups="mamba_n_groups",
        state="mamba_d_state",
        kernel="mamba_d_conv",
        bias="mamba_proj_bias",
        out_bias="projectors_bias",
        conv_bias="mamba_conv_bias",
        norm_if="mamba_rms_norm",
        beside=True,
    )(config, plan, sheet)
    gqa(bias="attention_bias")(config, plan, sheet)


NEMOTRON_BLOCKS: dict[str, Block] = {
    "linear": mamba2(
        inner=lambda config: int(config.mamba_num_heads * config.mamba_head_dim),
        num_heads="mamba_num_heads",
        state="ssm_state_size",
    ),
    "full": gqa(scope="mixer", bias="attention_bias", role="mixer"),
}


FAMILIES = (
    Family(
        types=("mamba", "falcon_mamba"),
        attention=mamba1(inner=_mamba1_width),
        mlp={},
        plan=_only_mamba,
        norms=("norm",),
        root="backbone",
        embed="embeddings",
        last_norm="norm_f",
    ),
    Family(
        types=("mamba2",),
        attention=mamba2(inner=lambda config: int(config.expand * config.hidden_size)),
        mlp={},
        plan=_only_mamba,
        norms=("norm",),
        root="backbone",
        embed="embeddings",
        last_norm="norm_f",
    ),
    Family(
        types=("bamba",),
        attention={"full": gqa(bias="attention_bias"), "linear": MAMBA_PREFIXED},
        mlp=gated(scope="feed_forward", bias="mlp_bias"),
        plan=_bamba_plan,
        norms=("input_layernorm", "pre_ff_layernorm"),
        last_norm="final_layernorm",
    ),
    Family(
        types=("jamba",),
        attention={
            "full": gqa(),
            "linear": mamba1(
                scope="mamba",
                inner=_expanded,
                state="mamba_d_state",
                kernel="mamba_d_conv",
                rank="mamba_dt_rank",
                bias="mamba_proj_bias",
                conv_bias="mamba_conv_bias",
                inner_norms=True,
            ),
        },
        mlp={
            "dense": gated(scope="feed_forward"),
            "moe": moe(scope="feed_forward", router="router", inner="intermediate_size"),
        },
        plan=_jamba_plan,
        norms=("input_layernorm", "pre_ff_layernorm"),
        last_norm="final_layernorm",
    ),
    Family(
        types=("falcon_h1",),
        attention=_falcon_h1_layer,
        mlp=gated(scope="feed_forward", bias="mlp_bias"),
        norms=("input_layernorm", "pre_ff_layernorm"),
        last_norm="final_layernorm",
    ),
    Family(
        types=("granitemoehybrid",),
        attention={"full": gqa(bias="attention_bias"), "linear": MAMBA_PREFIXED},
        mlp={"moe": moe(scope="block_sparse_moe", router="router", inner="intermediate_size")},
        plan=windowed(_granite_hybrid_mlps, types=_granite_hybrid_types, mixers=LINEAR),
        around=granite_shared,
    ),
    Family(
        types=("nemotron_h",),
        attention=NEMOTRON_BLOCKS,
        mlp={"dense": plain(scope="mixer", bias="mlp_bias", role="mixer"), "moe": _nemotron_moe},
        plan=_nemotron_plan,
        norms=("norm",),
        embed="embeddings",
        last_norm="norm_f",
    ),
)
