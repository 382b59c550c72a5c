"""Feed-forward blocks: gated, plain, and mixtures of experts."""

from __future__ import annotations

from collections.abc import Callable

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Block, Flag, Plan, Sheet, flag
from planner.resolve.facts import Role

Size = str | Callable[[Config], int]


def size(config: Config, rule: Size) -> int:
    """A width: the name of a config field, or computed from the config."""
    return int(config.__getattr__(rule) if isinstance(rule, str) else rule(config))


def write_gated(
    s: Sheet,
    hidden: int,
    inner: int,
    *,
    bias: bool = False,
    names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
    down_bias: bool | None = None,
) -> None:
    """Three matrices: gate, up, down."""
    s.linear(names[0], hidden, inner, bias=bias)
    s.linear(names[1], hidden, inner, bias=bias)
    s.linear(names[2], inner, hidden, bias=bias if down_bias is None else down_bias, split="row")


def gated(
    *,
    scope: str = "mlp",
    inner: Size = "intermediate_size",
    bias: Flag = False,
    names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
    extra: Block | None = None,
) -> Block:
    """A gated MLP."""

    def block(config: Config, plan: Plan, sheet: Sheet) -> None:
        s = sheet.at(scope, "mlp")
        width = size(config, inner)
        write_gated(s, config.hidden_size, width, bias=flag(config, bias), names=names)
        sheet.layer.update(mlp="gated", intermediate_size=width)
        if extra is not None:
            extra(config, plan, s)

    return block


def fused_gated(
    *,
    scope: str = "mlp",
    inner: Size = "intermediate_size",
    up: str = "gate_up_proj",
    down: str = "down_proj",
    bias: Flag = False,
) -> Block:
    """A gated MLP whose gate and up matrices are one projection."""

    def block(config: Config, plan: Plan, sheet: Sheet) -> None:
        s = sheet.at(scope, "mlp")
        width, hidden, b = size(config, inner), config.hidden_size, flag(config, bias)
        s.linear(up, hidden, 2 * width, bias=b)
        s.linear(down, width, hidden, bias=b, split="row")
        sheet.layer.update(mlp="gated", fused_gate_up=True, intermediate_size=width)

    return block


def plain(
    up: str = "up_proj",
    down: str = "down_proj",
    *,
    scope: str = "mlp",
    inner: Size = "intermediate_size",
    bias: Flag = False,
    transposed: bool = False,
    role: Role = "mlp",
    extra: Block | None = None,
) -> Block:
    """Two matrices."""

    def block(config: Config, plan: Plan, sheet: Sheet) -> None:
        s = sheet.at(scope, role)
        width, hidden, b = size(config, inner), config.hidden_size, flag(config, bias)
        s.linear(up, hidden, width, bias=b, transposed=transposed)
        s.linear(down, width, hidden, bias=b, split="row", transposed=transposed)
        sheet.layer.update(mlp="plain", intermediate_size=width)
        if extra is not None:
            extra(config, plan, s)

    return block


def experts_of(config: Config) -> int:
    """Routed experts, by any of the names in use."""
    value = config.first("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
    if value is None:
        raise config.problem(f"the number of experts of type '{config.model_type}' is missing")
    return int(value)


def top_k_of(config: Config) -> int:
    """Experts a token is sent to."""
    value = config.first(
        "num_experts_per_tok",
        "num_experts_per_token",
        "moe_top_k",
        "moe_k",
        "moe_topk",
        "top_k_experts",
    )
    if value is None:
        raise config.problem(f"the experts per token of type '{config.model_type}' are missing")
    return int(value)


def moe(
    *,
    scope: str = "mlp",
    router: str = "gate",
    router_linear: bool = False,
    router_bias: Flag = False,
    correction: str | None = None,
    inner: Size = "moe_intermediate_size",
    count: Callable[[Config], int] = experts_of,
    top_k: Callable[[Config], int] = top_k_of,
    experts: str = "experts",
    flipped: bool = False,
    expert_bias: Flag = False,
    gated_experts: bool = True,
    shared: Size | None = None,
    shared_scope: str = "shared_experts",
    shared_gate: str | None = None,
    shared_bias: Flag = False,
    shared_block: Block | None = None,
    extra: Block | None = None,
) -> Block:
    """A mixture of experts held as fused three-dimensional weights, with an optional shared part.

    `router_linear` where the router is an nn.Linear (adapted by all-linear LoRA); `correction`
    names a score correction that is a parameter and not a buffer.
    """

    def block(config: Config, plan: Plan, sheet: Sheet) -> None:
        s = sheet.at(scope, "mlp")
        hidden, width, e = config.hidden_size, size(config, inner), count(config)
        if router_linear:
            s.linear(
                router, hidden, e, bias=flag(config, router_bias), split="replicated", role="router"
            )
        else:
            s.param(f"{router}.weight", e, hidden, role="router")
            if flag(config, router_bias):
                s.param(f"{router}.bias", e, role="router", kind="bias")
        if correction:
            s.param(correction, e, role="mlp")
        x = s.at(experts) if experts else s
        write_experts(
            x, e, hidden, width, flipped=flipped, gate=gated_experts, bias=flag(config, expert_bias)
        )
        shared_width = size(config, shared) if shared is not None else 0
        if shared_width:
            p = s.at(shared_scope, "shared_experts")
            if shared_block is not None:
                shared_block(config, plan, p)
            else:
                write_gated(p, hidden, shared_width, bias=flag(config, shared_bias))
            if shared_gate:
                s.linear(shared_gate, hidden, 1, role="shared_experts", split="replicated")
        sheet.layer.update(
            mlp="moe",
            num_experts=e,
            num_experts_per_tok=top_k(config),
            moe_intermediate_size=width,
            shared_intermediate_size=shared_width,
            fused_gate_up=True,
        )
        if extra is not None:
            extra(config, plan, s)

    return block


def write_experts(
    s: Sheet,
    count: int,
    hidden: int,
    inner: int,
    *,
    flipped: bool = False,
    gate: bool = True,
    bias: bool = False,
) -> None:
    """The two fused weights of a set of experts."""
    up, wide = ("gate_up_proj", 2 * inner) if gate else ("up_proj", inner)
    s.experts(up, count, hidden, wide, flipped=flipped)
    s.experts("down_proj", count, inner, hidden, flipped=flipped)
    if bias:
        s.param(f"{up}_bias", count, wide, kind="bias", role="routed_experts", split="experts")
        s.param("down_proj_bias", count, hidden, kind="bias", role="routed_experts")


def shared_total(config: Config) -> int:
    """Width of all shared experts together, each as wide as a routed one."""
    return int(config.get("n_shared_experts", 0)) * int(config.moe_intermediate_size)


def shared_if_any(config: Config) -> int:
    """The same where the config counts them as `num_shared_experts`, which may be missing."""
    return int(config.get("num_shared_experts", 0)) * int(
        config.get("moe_intermediate_size") or config.intermediate_size
    )


# Routed and shared experts as most families after DeepSeek-V2 have them.
EXPERTS = moe(shared=shared_total)
# Qwen's, with one shared expert behind a gate.
QWEN_SHARED = moe(
    shared="shared_expert_intermediate_size",
    shared_scope="shared_expert",
    shared_gate="shared_expert_gate",
)


def granite_shared(config: Config, _: Plan, sheet: Sheet) -> None:
    """Granite's shared MLP beside the experts, with gate and up in one matrix."""
    width = int(config.get("shared_intermediate_size", 0))
    if width:
        s = sheet.at("shared_mlp", "shared_experts")
        s.linear("input_linear", config.hidden_size, 2 * width)
        s.linear("output_linear", width, config.hidden_size, split="row")
        sheet.layer["shared_intermediate_size"] = width
