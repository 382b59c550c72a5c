"""Attention blocks: separate and fused projections, multi-head latent attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from planner.resolve.arch.config import Config
from planner.resolve.arch.sheet import Block, Flag, Plan, Sheet, flag
from planner.resolve.facts import Role

Number = Callable[[Config, Plan], int]


def heads(config: Config) -> int:
    """Query heads."""
    return int(config.num_attention_heads)


def kv_heads(config: Config) -> int:
    """Key-value heads; as many as query heads where the config is silent."""
    return int(config.get("num_key_value_heads") or heads(config))


def head_dim(config: Config) -> int:
    """Width of a head; the hidden size over the heads where the config is silent."""
    given = config.get("head_dim")
    if given is not None:
        return int(given)
    count = heads(config)
    if count < 1:
        raise config.problem("num_attention_heads must be at least 1")
    return int(config.hidden_size // count)


def even_head_dim(config: Config) -> int:
    """The same, where the class wants the heads to divide the hidden size."""
    if config.hidden_size % heads(config):
        raise config.problem(
            f"hidden_size {config.hidden_size} is not a multiple of the"
            f" {heads(config)} attention heads"
        )
    return int(config.hidden_size // heads(config))


def note_attention(
    sheet: Sheet,
    plan: Plan,
    *,
    q: int,
    kv: int,
    dim: int,
    v_dim: int | None = None,
    cached: int | None = None,
    **more: Any,
) -> None:
    """Write what the layer computes and caches."""
    v = dim if v_dim is None else v_dim
    sheet.layer.update(
        mixer=plan.mixer,
        window_tokens=plan.window,
        num_attention_heads=q,
        num_key_value_heads=kv,
        head_dim=dim,
        v_head_dim=v,
        kv_elements_per_token=kv * (dim + v) if cached is None else cached,
        **more,
    )


def gqa(
    *,
    scope: str = "self_attn",
    names: tuple[str, str, str, str] = ("q_proj", "k_proj", "v_proj", "o_proj"),
    bias: Flag = False,
    k_bias: Flag | None = None,
    out_bias: Flag | None = None,
    qk_norm: str | None = None,
    qk_names: tuple[str, str] = ("q_norm", "k_norm"),
    norm_if: Flag = True,
    norm_kind: str | None = None,
    q_times: int = 1,
    sinks: Flag = False,
    dims: Callable[[Config], int] = head_dim,
    kv: Callable[[Config], int] = kv_heads,
    width: str = "hidden_size",
    softcap: Flag = False,
    extra: Block | None = None,
    square_out: bool = False,
    role: Role = "attention",
) -> Block:
    """Grouped-query attention with separate projections.

    `role` other than attention where the class gives all its mixers one name.
    `qk_norm` is `head` (one norm of the head width), `full` (over all heads), or None; `q_times` 2
    for a query projection that carries an output gate; `sinks` for one learned logit per head.
    """

    def block(config: Config, plan: Plan, sheet: Sheet) -> None:
        s = sheet.at(scope, role)
        h, q, g, d = config[width], heads(config), kv(config), dims(config)
        b = flag(config, bias)
        out = b if out_bias is None else flag(config, out_bias)
        s.linear(names[0], h, q * d * q_times, bias=b)
        s.linear(names[1], h, g * d, bias=b if k_bias is None else flag(config, k_bias), split="kv")
        s.linear(names[2], h, g * d, bias=b, split="kv")
        s.linear(names[3], h if square_out else q * d, h, bias=out, split="row")
        normed = qk_norm is not None and flag(config, norm_if)
        if normed:
            wide = qk_norm == "full"
            s.norm(qk_names[0], q * d if wide else d, norm_kind)
            s.norm(qk_names[1], g * d if wide else d, norm_kind)
        if flag(config, sinks):
            s.param("sinks", q, split="column")
        note_attention(
            sheet,
            plan,
            q=q,
            kv=g,
            dim=d,
            qk_norm=normed,
            attention_bias=b,
            softcap=flag(config, softcap),
        )
        if extra is not None:
            extra(config, plan, s)

    return block


def fused_qkv(
    *,
    scope: str,
    qkv: str,
    out: str,
    bias: Flag = True,
    out_bias: Flag | None = None,
    dims: Callable[[Config], int] = even_head_dim,
    kv: Callable[[Config], int] = heads,
    transposed: bool = False,
    qk_norm: str | None = None,
    qk_names: tuple[str, str] = ("q_norm", "k_norm"),
    norm_if: Flag = True,
    norm_kind: str | None = None,
) -> Block:
    """One projection for queries, keys and values."""

    def block(config: Config, plan: Plan, sheet: Sheet) -> None:
        s = sheet.at(scope, "attention")
        h, q, g, d = config.hidden_size, heads(config), kv(config), dims(config)
        b = flag(config, bias)
        out_b = b if out_bias is None else flag(config, out_bias)
        s.linear(qkv, h, (q + 2 * g) * d, bias=b, transposed=transposed)
        s.linear(out, q * d, h, bias=out_b, split="row", transposed=transposed)
        normed = qk_norm is not None and flag(config, norm_if)
        if normed:
            wide = qk_norm == "full"
            s.norm(qk_names[0], q * d if wide else d, norm_kind)
            s.norm(qk_names[1], g * d if wide else d, norm_kind)
        note_attention(
            sheet, plan, q=q, kv=g, dim=d, attention_bias=b, fused_qkv=True, qk_norm=normed
        )

    return block


def _v_dim(config: Config) -> int:
    return int(config.get("v_head_dim") or config.hidden_size // heads(config))


def mla(
    *,
    scope: str = "self_attn",
    bias: Flag = "attention_bias",
    extra: Block | None = None,
    qk_head_dim: int | None = None,
) -> Block:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434).

    An engine that knows it caches kv_lora_rank + qk_rope_head_dim values a token; one that does
    not caches the expanded heads.
    """

    def block(config: Config, plan: Plan, sheet: Sheet) -> None:
        s = sheet.at(scope, "attention")
        h, q, b = config.hidden_size, heads(config), flag(config, bias)
        nope, rope, v = config.qk_nope_head_dim, config.qk_rope_head_dim, _v_dim(config)
        rank, q_rank = config.kv_lora_rank, config.get("q_lora_rank")
        wide = qk_head_dim or nope + rope
        if q_rank is None:
            s.linear("q_proj", h, q * wide)
        else:
            s.linear("q_a_proj", h, q_rank, bias=b, split="replicated")
            s.norm("q_a_layernorm", q_rank)
            s.linear("q_b_proj", q_rank, q * wide)
        s.linear("kv_a_proj_with_mqa", h, rank + rope, bias=b, split="replicated")
        s.norm("kv_a_layernorm", rank)
        s.linear("kv_b_proj", rank, q * (nope + v))
        s.linear("o_proj", q * v, h, bias=b, split="row")
        note_attention(
            sheet,
            plan._replace(mixer="mla"),
            q=q,
            kv=q,
            dim=nope + rope,
            v_dim=v,
            cached=rank + rope,
            kv_expanded_elements_per_token=q * (nope + rope + v),
            kv_lora_rank=rank,
            q_lora_rank=q_rank or 0,
            qk_rope_head_dim=rope,
            attention_bias=b,
        )
        if extra is not None:
            extra(config, plan, s)

    return block


def output_gate(config: Config, _: Plan, s: Sheet) -> None:
    """A gate of every value that attention gives out."""
    s.linear("gate_proj", config.hidden_size, heads(config) * head_dim(config))
