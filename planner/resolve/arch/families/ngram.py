"""Qwen4-Exp: several residual streams, and layers that look up tables of token n-grams."""

from __future__ import annotations

from itertools import count, islice

from planner.resolve.arch.attention import gqa
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.layers import LINEAR, all_moe, every, layer_types, windowed
from planner.resolve.arch.mlp import QWEN_SHARED
from planner.resolve.arch.recurrent import gated_delta
from planner.resolve.arch.sheet import Plan, Sheet

_MOST_TABLES = 10_000


def _types(config: Config) -> list[str]:
    step = int(config.get("full_attention_interval", 4))
    listed = layer_types(config, every(step, "linear_attention"))
    return ["full_attention" if kind == "indexed_attention" else kind for kind in listed]


def _plan(config: Config) -> list[Plan]:
    """Each layer with the number of its n-gram table, where it has one; file ids start at one."""
    plans = windowed(all_moe, types=_types, mixers=LINEAR, window=lambda _: None)(config)
    with_table = {one - 1: j for j, one in enumerate(sorted(set(config.get("ple_layer_ids", []))))}
    return [plan._replace(tag=with_table.get(i)) for i, plan in enumerate(plans)]


def _is_prime(value: int) -> bool:
    return value > 1 and all(value % n for n in range(2, int(value**0.5) + 1))


def table_rows(config: Config, index: int) -> int:
    """Rows of the n-gram table of a number: the heads take successive primes from a base on."""
    each = (int(config.ngram_size) - 1) * int(config.heads_per_ngram)
    if each * (index + 1) > _MOST_TABLES:
        raise config.problem(f"{each} n-gram heads for table {index + 1}: no model has as many")
    primes = (n for n in count(int(config.ngram_vocab_size_base)) if _is_prime(n))
    rows = sum(islice(primes, index * each, (index + 1) * each))
    step = int(config.make_ngram_vocab_size_divisible_by)
    return -(-rows // step) * step


def _indexer(config: Config, _: Plan, s: Sheet) -> None:
    """Query and key projections that pick blocks of compressed keys."""
    if not config.get("indexer_n_heads"):
        return
    d, groups = int(config.indexer_head_dim), int(config.indexer_kv_heads or 1)
    x = s.at("indexer")
    x.linear("index_qk_proj", config.hidden_size, (int(config.indexer_n_heads) + groups) * d)
    x.norm("q_layernorm", d)
    x.norm("k_layernorm", d)
    s.layer["indexer_elements_per_token"] = groups * d // int(config.indexer_compress_ratio or 1)


def _mixer(s: Sheet, config: Config, *, inject: bool) -> None:
    n, h, rank = int(config.hc_count), config.hidden_size, int(config.hc_lowrank)
    s.norm("hc_norm", n * h)
    s.linear("input_mix_weight_down", n * h, rank, split="replicated")
    s.linear("input_mix_weight_up", rank, n * h, split="replicated")
    if inject:
        s.linear("block_inject_weight", n * h, n, split="replicated")


def _streams(config: Config, plan: Plan, sheet: Sheet) -> None:
    _mixer(sheet.at("attn_hyper_connection", "attention"), config, inject=True)
    _mixer(sheet.at("mlp_hyper_connection", "mlp"), config, inject=True)
    if plan.tag is None:
        return
    n, h, s = int(config.hc_count), config.hidden_size, sheet.at("ple", "other")
    wide = int(config.get("ple_embed_dim") or h)
    each = (int(config.ngram_size) - 1) * int(config.heads_per_ngram)
    rows = table_rows(config, int(plan.tag))
    s.embedding("ple_embedding.ngram_embedding", rows, wide // each, split="replicated")
    s.linear("key_proj", wide, n * h)
    s.linear("value_proj", wide, h)
    for name in ("norm_key", "norm_query", "norm_conv"):
        s.norm(name, n * h)
    s.at("", "mixer").conv("conv1d", n * h, 1, int(config.ple_conv_kernel_size), bias=False)


def _last(config: Config, _: Plan, s: Sheet) -> None:
    _mixer(s.at("hyper_connection_mixer", "other"), config, inject=False)


FAMILIES = (
    Family(
        types=("qwen4_exp_text",),
        attention={
            "full": gqa(bias="attention_bias", qk_norm="head", q_times=2, extra=_indexer),
            "linear": gated_delta(joined=False),
        },
        mlp=QWEN_SHARED,
        plan=_plan,
        norms=(),
        last_norm="",
        around=_streams,
        extra=_last,
        norm_fp32=True,
    ),
)
