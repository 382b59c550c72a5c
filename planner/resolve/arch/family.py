"""A family of decoders: which blocks it is made of, and how a layer is written from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from planner.resolve.arch.config import Config
from planner.resolve.arch.layers import PlanRule, by_layer
from planner.resolve.arch.mlp import Size
from planner.resolve.arch.sheet import Block, Flag, Plan, Sheet, flag

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
