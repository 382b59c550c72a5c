"""A family of decoders: how its layers are laid out and which blocks they are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from planner.resolve.arch.config import Config
from planner.resolve.arch.mlp import Size
from planner.resolve.arch.sheet import Block, Flag, Plan, Sheet, flag

PlanRule = Callable[[Config], list[Plan]]
MlpRule = Callable[[Config], list[str]]

MOST_LAYERS = 10_000
LEGACY_LAYER_TYPES = {
    "mamba": "linear_attention",
    "attention": "full_attention",
    "deepseek_sparse_attention": "indexed_attention",
    "qwen_sparse_attention": "indexed_attention",
}


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


def sparse_steps(config: Config) -> list[str]:
    """Experts in every `decoder_sparse_step`-th layer that is not listed as dense."""
    dense = set(config.get("mlp_only_layers", []))
    step = int(config.get("decoder_sparse_step", 1))
    some = bool(config.first("num_experts", "num_local_experts", default=0))
    return [
        "moe" if some and i not in dense and (i + 1) % step == 0 else "dense"
        for i in range(depth(config))
    ]


# Activations that torch runs as several elementwise steps, each of which training saves.
COMPOSED_ACTIVATIONS = frozenset({"gelu_new", "gelu_fast", "gelu_accurate", "quick_gelu"})
RESIDUAL_DROPOUTS = (
    "resid_pdrop",
    "hidden_dropout",
    "hidden_dropout_prob",
    "residual_dropout",
    "resid_dropout",
)
ATTENTION_DROPOUTS = ("attn_pdrop", "attention_dropout", "attention_probs_dropout_prob")


def training_traits(config: Config) -> dict[str, bool]:
    """What changes the tensors that training saves, beside the shapes."""
    activation = config.first("hidden_act", "activation_function", default="")
    return {
        "composed_activation": activation in COMPOSED_ACTIVATIONS,
        "residual_dropout": any(config.get(name) for name in RESIDUAL_DROPOUTS),
        "attention_dropout": any(config.get(name) for name in ATTENTION_DROPOUTS),
    }


PRE_NORM = ("input_layernorm", "post_attention_layernorm")
SANDWICH = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)


@dataclass(frozen=True, kw_only=True)
class Family:
    """One family of decoders over shared blocks.

    Attributes:
        types: the model types it reads.
        attention: a block, or one for each mixer that `plan` names.
        mlp: a block, or one for each kind that `plan` names (`dense`, `moe`, ...).
        plan: the layers.
        norms: hidden-size norms of a layer, by name; norm_kind: see Sheet.
        root, inner: `model.` for the base model in the class with the head, and what the base
            model puts before its own parts.
        embed, stack, last_norm, head: names of these parts; `last_norm` may be empty.
        head_bias: whether the head has one; has_head: whether the class has a head over the
            vocabulary; always_tied: the class ties it whatever the file says.
        extra: further tensors of the base model, written outside the layers.
        around: further tensors of each layer.
        parallel: attention and MLP read the same normalised input.
        norm_fp32: norms multiply by their weight in fp32 before they round.
    """

    types: tuple[str, ...]
    attention: Block | Mapping[str, Block]
    mlp: Block | Mapping[str, Block]
    plan: PlanRule = field(default_factory=by_layer)
    norms: Sequence[str] | Callable[[Config, Plan], Sequence[str]] = PRE_NORM
    norm_kind: str | Callable[[Config], str] = "rms"
    root: str = "model"
    inner: str = ""
    embed: str = "embed_tokens"
    embed_width: Size = "hidden_size"
    embed_rows: Size = "vocab_size"
    head_rows: Size = "vocab_size"
    stack: str = "layers"
    last_norm: str = "norm"
    head: str = "lm_head"
    head_bias: Flag = False
    has_head: Flag = True
    always_tied: bool = False
    extra: Block | None = None
    around: Block | None = None
    outside: Block | None = None
    parallel: Flag = False
    logit_softcap: Flag = "final_logit_softcapping"
    norm_fp32: bool = False

    def norms_of(self, config: Config) -> str:
        """The kind of the family's norms."""
        return self.norm_kind if isinstance(self.norm_kind, str) else self.norm_kind(config)

    def write_layer(self, config: Config, plan: Plan, sheet: Sheet) -> None:
        """The tensors and the record of one layer."""
        kind = self.norms_of(config)
        sheet.layer.update(
            mixer=plan.mixer,
            window_tokens=plan.window,
            mlp="none",
            layer_norm=kind != "rms",
            norm_weight_fp32=self.norm_fp32,
            parallel_residual=flag(config, self.parallel),
            **training_traits(config),
        )
        if isinstance(self.attention, Mapping):
            if plan.mixer != "none":
                self._pick(self.attention, plan.mixer, config)(config, plan, sheet)
        else:
            self.attention(config, plan, sheet)
        if isinstance(self.mlp, Mapping):
            if plan.mlp != "none":
                self._pick(self.mlp, plan.mlp, config)(config, plan, sheet)
        elif plan.mlp != "none":
            self.mlp(config, plan, sheet)
        names = self.norms(config, plan) if callable(self.norms) else self.norms
        for name in names:
            sheet.norm(name, config.hidden_size)
        sheet.layer["norms"] = len(names)
        if self.around is not None:
            self.around(config, plan, sheet)

    def _pick(self, blocks: Mapping[str, Block], key: str, config: Config) -> Block:
        if key in blocks:
            return blocks[key]
        if key in ("sliding", "chunked") and "full" in blocks:
            return blocks["full"]
        raise config.problem(f"type '{config.model_type}' has no layer of kind '{key}'")


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


def fourth_full(config: Config) -> list[str]:
    return layer_types(config, lambda i: "sliding_attention" if i % 4 else "full_attention")


LINEAR = {"linear_attention": "linear"}


def fourth_from_last_full(config: Config) -> list[str]:
    last = depth(config) - 1
    return layer_types(
        config, lambda i: "sliding_attention" if (last - i) % 4 else "full_attention"
    )
