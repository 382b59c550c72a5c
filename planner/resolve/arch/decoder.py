"""Writes a whole decoder from its family's description."""

from __future__ import annotations

from dataclasses import dataclass

from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.mlp import size
from planner.resolve.arch.sheet import Entry, Plan, Sheet, flag, tensors_of
from planner.resolve.facts import Layer, Tensor


@dataclass(frozen=True, slots=True)
class Decoder:
    """Tensors and layers of a text model."""

    tensors: list[Tensor]
    layers: list[Layer]


def write_decoder(
    family: Family, config: Config, *, root: str, tied: bool, head: str, mtp_layers: int = 0
) -> Decoder:
    """The tensors of the base model under `root` and of the LM head.

    `mtp_layers` are layers that predict further tokens: each like the last layer of the stack,
    with the projection and norms that join a token's embedding to the hidden state. They share
    the embedding and the head.
    """
    base = f"{root}.{family.inner}" if root else family.inner
    kind = family.norms_of(config)
    plans = family.plan(config)
    plans += plans[-1:] * mtp_layers
    groups: dict[Plan, list[int]] = {}
    for i, plan in enumerate(plans):
        groups.setdefault(plan, []).append(i)
    written: list[tuple[tuple[int, ...], list[Entry]]] = []
    records: dict[Plan, Layer] = {}
    for plan, indices in groups.items():
        sheet = Sheet(f"{base}{family.stack}.{{i}}.", norms=kind)
        family.write_layer(config, plan, sheet)
        written.append((tuple(indices), sheet.entries))
        records[plan] = _record(config, sheet)
    outside = Sheet(base, norms=kind)
    plan = plans[0] if plans else Plan()
    width = size(config, family.embed_width)
    if family.embed:
        outside.embedding(family.embed, size(config, family.embed_rows), width)
    if family.extra is not None:
        family.extra(config, plan, outside)
    if family.last_norm:
        outside.norm(family.last_norm, config.hidden_size)
    top = Sheet("", norms=kind)
    if flag(config, family.has_head):
        top.linear(
            head,
            width,
            size(config, family.head_rows),
            bias=flag(config, family.head_bias),
            split="vocab",
            role="lm_head",
            tied=tied,
        )
    stack = f"{base}{family.stack}"
    for i in range(len(plans) - mtp_layers, len(plans)):
        _write_mtp(config, outside_of(stack, i, kind, outside))
    if family.outside is not None:
        family.outside(config, plan, top)
    tensors = [
        *tensors_of([((), outside.entries)]),
        *tensors_of(written),
        *tensors_of([((), top.entries)]),
    ]
    return Decoder(tensors, [records[plan] for plan in plans])


def outside_of(stack: str, layer: int, kind: str, sheet: Sheet) -> Sheet:
    """A sheet for what a numbered layer holds beside its block."""
    return Sheet(f"{stack}.{layer}.", role="other", norms=kind, entries=sheet.entries)


def _write_mtp(config: Config, s: Sheet) -> None:
    """What joins the next token's embedding to the hidden state (DeepSeek-V3, section 2.2)."""
    h = config.hidden_size
    s.linear("eh_proj", 2 * h, h, split="replicated")
    for name in ("enorm", "hnorm", "shared_head.norm"):
        s.norm(name, h)


def _record(config: Config, sheet: Sheet) -> Layer:
    layer = Layer(**sheet.layer)
    if layer.num_key_value_heads and layer.num_attention_heads % layer.num_key_value_heads:
        raise config.problem(
            f"{layer.num_attention_heads} attention heads cannot share"
            f" {layer.num_key_value_heads} key-value heads evenly"
        )
    if layer.num_experts_per_tok > layer.num_experts:
        raise config.problem(
            f"{layer.num_experts_per_tok} experts per token out of {layer.num_experts}"
        )
    return layer
