"""How layers are laid out: which attention and which MLP each of them has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Plan

PlanRule = Callable[[Config], list[Plan]]
MlpRule = Callable[[Config], list[str]]
MOST_LAYERS = 10_000


LEGACY_LAYER_TYPES = {
    "mamba": "linear_attention",
    "attention": "full_attention",
    "deepseek_sparse_attention": "indexed_attention",
    "qwen_sparse_attention": "indexed_attention",
}


# The mixer of the layers that are not attention, for `windowed`.
LINEAR = {"linear_attention": "linear"}


def depth(config: Config) -> int:
    """Decoder layers."""
    layers = int(config.num_hidden_layers)
    if layers > MOST_LAYERS:
        raise config.problem(f"num_hidden_layers {layers} is more than any model has")
    return layers


def layer_types(config: Config, rule: Callable[[int], str] | None = None) -> list[str]:
    """The config's list of layer types with today's names, or `rule` of each layer's index."""
    listed = config.get("layer_types")
    n = depth(config)
    if listed is None:
        return [rule(i) if rule else "full_attention" for i in range(n)]
    if len(listed) < n:
        raise config.problem(f"layer_types lists {len(listed)} layers, num_hidden_layers says {n}")
    return [LEGACY_LAYER_TYPES.get(name, name) for name in listed[:n]]


def every(pattern: int, local: str = "sliding_attention") -> Callable[[int], str]:
    """Every `pattern`-th layer attends to everything, the others are `local`."""
    return lambda i: local if (i + 1) % pattern else "full_attention"


def fourth_full(config: Config) -> list[str]:
    """The first of every four layers attends to everything, the others slide."""
    return layer_types(config, lambda i: "sliding_attention" if i % 4 else "full_attention")


def fourth_from_last_full(config: Config) -> list[str]:
    """The same counted back from the last layer."""
    last = depth(config) - 1
    return layer_types(
        config, lambda i: "sliding_attention" if (last - i) % 4 else "full_attention"
    )


def exaone_types(config: Config) -> list[str]:
    """EXAONE's pattern of sliding and full layers, a number or a string of letters."""
    pattern = config.get("sliding_window_pattern", 4)
    if isinstance(pattern, str):
        last = depth(config) - 1
        return layer_types(
            config,
            lambda i: (
                "full_attention"
                if i == last or pattern[i % len(pattern)] == "G"
                else "sliding_attention"
            ),
        )
    return layer_types(config, every(int(pattern or 1)))


def exaone_window(config: Config) -> int | None:
    """The span of EXAONE's sliding layers."""
    return config.get("sliding_window") if config.get("sliding_window_pattern", 4) else None


def window_in_use(config: Config) -> int | None:
    """The config's sliding window, where it is switched on."""
    return config.get("sliding_window") if config.get("use_sliding_window") else None


def by_layer(mlps: MlpRule | None = None) -> PlanRule:
    """Full attention in every layer."""

    def rule(config: Config) -> list[Plan]:
        kinds = mlps(config) if mlps else ["dense"] * depth(config)
        return [Plan(mlp=kind) for kind in kinds]

    return rule


def windowed(
    mlps: MlpRule | None = None,
    types: Callable[[Config], list[str]] = layer_types,
    window: Callable[[Config], int | None] = lambda config: config.get("sliding_window"),
    mixers: Mapping[str, str] | None = None,
) -> PlanRule:
    """Layers as `layer_types` says; `mixers` translates types other than attention ones."""
    names = {
        "full_attention": "full",
        "sliding_attention": "sliding",
        "chunked_attention": "chunked",
        **(mixers or {}),
    }

    def rule(config: Config) -> list[Plan]:
        kinds = mlps(config) if mlps else ["dense"] * depth(config)
        span = window(config)
        plans = []
        for kind, mlp in zip(types(config), kinds, strict=True):
            if kind not in names:
                raise config.problem(f"unknown layer type '{kind}'")
            mixer = names[kind]
            local = mixer in ("sliding", "chunked")
            if local and not span:
                mixer, local = "full", False
            plans.append(Plan(mixer, span if local else None, mlp))
        return plans

    return rule


def same_window(mlps: MlpRule | None = None) -> PlanRule:
    """The config's sliding window in every layer, full attention where it is null."""

    def rule(config: Config) -> list[Plan]:
        kinds = mlps(config) if mlps else ["dense"] * depth(config)
        span = config.get("sliding_window")
        return [Plan("sliding" if span else "full", span or None, kind) for kind in kinds]

    return rule


def all_moe(config: Config) -> list[str]:
    """Experts in every layer."""
    return ["moe"] * depth(config)


def after_dense(name: str = "first_k_dense_replace") -> MlpRule:
    """Dense for the first layers, experts in the rest; a per-layer list wins over the count."""

    def rule(config: Config) -> list[str]:
        listed = config.get("mlp_layer_types")
        if listed is not None:
            return ["moe" if kind == "sparse" else "dense" for kind in listed[: depth(config)]]
        first = int(config.get(name, 0))
        return ["dense" if i < first else "moe" for i in range(depth(config))]

    return rule


def one_dense(config: Config) -> list[str]:
    """One dense layer, then experts, unless the config lists the layers."""
    if config.get("mlp_layer_types") is not None:
        return after_dense()(config)
    return ["dense" if i == 0 else "moe" for i in range(depth(config))]


def spaced_mlps(config: Config) -> list[str]:
    """Experts from a first layer on, in every so many layers."""
    if config.get("mlp_layer_types") is not None:
        return after_dense()(config)
    first, step = config.get("first_k_dense_replace", 1), config.get("moe_layer_freq", 1)
    return ["moe" if i >= first and i % step == 0 else "dense" for i in range(depth(config))]


def sparse_steps(config: Config) -> list[str]:
    """Experts in every `decoder_sparse_step`-th layer that is not listed as dense."""
    dense = set(config.get("mlp_only_layers", []))
    step = int(config.get("decoder_sparse_step", 1))
    some = bool(config.first("num_experts", "num_local_experts", default=0))
    return [
        "moe" if some and i not in dense and (i + 1) % step == 0 else "dense"
        for i in range(depth(config))
    ]
