"""What each layer of a GGUF model computes, caches and keeps, from the architecture's keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from planner.resolve.facts import Layer, Tensor
from planner.resolve.gguf import ArrayLength, Gguf

WINDOW_PERIOD: Final[Mapping[str, int]] = {
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gpt-oss": 2,
    "cohere2": 4,
    "exaone4": 4,
    "olmo2": 4,
    "phi3": 1,
    "smallthinker": 4,
}
"""Every n-th layer attends to everything, where llama.cpp fixes the pattern by architecture (1:
every layer is windowed); newer files say it in `attention.sliding_window_pattern`."""


def whole(value: Any) -> int:
    """A number of the metadata; 0 where it is absent or a list."""
    return int(value) if isinstance(value, int | float) else 0


def layers_of(
    gguf: Gguf, tensors: Iterable[Tensor], count: int
) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """Decoder layers of a header, and what had to be assumed about them."""
    held: list[dict[str, Tensor]] = [{} for _ in range(count)]
    for tensor in tensors:
        for i in tensor.layers:
            if tensor.name.startswith("blk.{i}.") and i < count:
                held[i][tensor.name.removeprefix("blk.{i}.")] = tensor
    windows, assumptions = _windows(gguf, count)
    layers = tuple(_layer(gguf, here, i, windows[i]) for i, here in enumerate(held))
    if any(layer.mixer == "none" for layer in layers):
        assumptions += ("some layers have neither attention nor a known recurrent part",)
    return layers, assumptions


def _windows(gguf: Gguf, count: int) -> tuple[list[int | None], tuple[str, ...]]:
    span = whole(gguf.get("attention.sliding_window"))
    if not span:
        return [None] * count, ()
    pattern = gguf.get("attention.sliding_window_pattern")
    if isinstance(pattern, list) and len(pattern) >= count:
        return [span if local else None for local in pattern[:count]], ()
    period = whole(pattern) or WINDOW_PERIOD.get(gguf.architecture, 0)
    if not period:
        return [None] * count, (
            f"the file has a sliding window of {span} tokens but not which layers use it: all"
            " layers are taken as attending to everything",
        )
    return [span if period == 1 or (i + 1) % period else None for i in range(count)], ()


def _at(gguf: Gguf, key: str, layer: int, default: int = 0) -> int:
    """A value that is one number or a list by layer."""
    value = gguf.get(key)
    if isinstance(value, list):
        return int(value[layer]) if layer < len(value) else default
    return default if value is None or isinstance(value, ArrayLength) else int(value)


def _layer(gguf: Gguf, here: Mapping[str, Tensor], i: int, window: int | None) -> Layer:
    heads = _at(gguf, "attention.head_count", i)
    has_attention = any(f"attn_{part}.weight" in here for part in ("k", "qkv", "kv_a_mqa"))
    reads_other = not has_attention and "attn_q.weight" in here
    attention = _attention(gguf, here, i, heads, window) if has_attention or reads_other else {}
    if reads_other:
        attention |= {"kv_shared": True, "kv_elements_per_token": 0}
    recurrent = _recurrent(gguf, here)
    mixer = attention.get("mixer") or recurrent.get("mixer") or "none"
    norms = sum(
        1
        for name, t in here.items()
        if t.kind == "norm"
        and name.endswith(".weight")
        and t.shape == (gguf.get("embedding_length"),)
    )
    layer_norm = any(t.kind == "norm" and name.endswith(".bias") for name, t in here.items())
    fields = {**recurrent, **attention, **_mlp(gguf, here, i), "mixer": mixer}
    return Layer(**fields, norms=norms, layer_norm=layer_norm)


def _attention(
    gguf: Gguf, here: Mapping[str, Tensor], i: int, heads: int, window: int | None
) -> dict[str, Any]:
    hidden = int(gguf.get("embedding_length"))
    width = hidden // heads if heads else 0
    kv_heads = _at(gguf, "attention.head_count_kv", i, heads)
    key = _at(gguf, "attention.key_length", i, width)
    value = _at(gguf, "attention.value_length", i, width)
    common = {
        "num_attention_heads": heads,
        "qk_norm": "attn_q_norm.weight" in here,
        "softcap": bool(gguf.get("attn_logit_softcapping")),
        "attention_bias": any(f"attn_{part}.bias" in here for part in ("q", "qkv")),
        "fused_qkv": "attn_qkv.weight" in here,
    }
    if "attn_kv_a_mqa.weight" in here:
        rank = _at(gguf, "attention.kv_lora_rank", i)
        rope = _at(gguf, "rope.dimension_count", i)
        key = _at(gguf, "attention.key_length_mla", i, key)
        value = _at(gguf, "attention.value_length_mla", i, value)
        return common | {
            "mixer": "mla",
            "num_key_value_heads": heads,
            "head_dim": key,
            "v_head_dim": value,
            "q_lora_rank": _at(gguf, "attention.q_lora_rank", i),
            "kv_lora_rank": rank,
            "qk_rope_head_dim": rope,
            "kv_elements_per_token": rank + rope,
            "kv_expanded_elements_per_token": heads * (key + value),
        }
    return common | {
        "mixer": "sliding" if window else "full",
        "window_tokens": window,
        "num_key_value_heads": kv_heads,
        "head_dim": key,
        "v_head_dim": value,
        "kv_elements_per_token": kv_heads * (key + value),
    }


def _recurrent(gguf: Gguf, here: Mapping[str, Tensor]) -> dict[str, Any]:
    """Constant state: convolution columns and the state matrix (llama.cpp hparams.n_embd_r/_s)."""
    if "shortconv.conv.weight" in here:
        columns = whole(gguf.get("shortconv.l_cache"))
        return {"mixer": "conv", "conv_state_elements": columns * int(gguf.get("embedding_length"))}
    if not any(name.startswith("ssm_") for name in here):
        return {}
    kernel, inner = whole(gguf.get("ssm.conv_kernel")), whole(gguf.get("ssm.inner_size"))
    state, groups = whole(gguf.get("ssm.state_size")), whole(gguf.get("ssm.group_count"))
    gated = any(name.startswith(("ssm_ba", "ssm_beta", "ssm_alpha")) for name in here)
    first = "ssm_x.weight" in here
    mixer = "mamba1" if first else "gated_delta" if gated else "mamba2"
    return {
        "mixer": mixer,
        "conv_state_elements": kernel * (inner + (0 if first else 2 * groups * state)),
        "ssm_state_elements": state * inner,
    }


def _mlp(gguf: Gguf, here: Mapping[str, Tensor], i: int) -> dict[str, Any]:
    fields: dict[str, Any] = {"mlp": "none"}
    down = here.get("ffn_down.weight")
    if down is not None:
        up = here.get("ffn_up.weight")
        fused = up is not None and up.out_features == 2 * down.in_features
        gated = "ffn_gate.weight" in here or fused
        fields = {
            "mlp": "gated" if gated else "plain",
            "intermediate_size": down.in_features,
            "fused_gate_up": fused,
        }
    experts = here.get("ffn_down_exps.weight")
    if experts is not None:
        shared = here.get("ffn_down_shexp.weight")
        fields |= {
            "mlp": "moe",
            "num_experts": experts.shape[0],
            "num_experts_per_tok": _at(gguf, "expert_used_count", i),
            "moe_intermediate_size": experts.in_features,
            "shared_intermediate_size": shared.in_features if shared else 0,
        }
    return fields
