"""Numbers as people read them: one place that rounds, so that every format says the same.

Free shares are rounded down and shortfalls up: a report never flatters a configuration.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import polars as pl

VERDICT_WORDS: Final = {
    "fits": "fits",
    "tight": "tight",
    "exceeds": "does not fit",
    "impossible": "impossible layout",
    "unsupported": "not supported",
}
PRICE_WORDS: Final = {
    "priced": "",
    "unpriced": "no price",
    "no-offer": "not sold in this size",
    "over-limit": "over the price limit",
}
OUTCOME_WORDS: Final = {
    "chosen": "chosen",
    "nothing-fits": "nothing fits",
    "no-price": "fits, but nothing that fits has a price",
    "over-limit": "fits only above the price limit",
    "misses-objective": "fits, but misses an objective",
}
COMPONENT_WORDS: Final = {
    "weights": "Weights",
    "adapter": "Adapter",
    "gradients": "Gradients",
    "optimizer": "Optimizer states",
    "activations": "Activations",
    "logits": "Logits and loss",
    "kv_cache": "KV cache",
    "recurrent_state": "Recurrent state",
    "overhead": "Overhead",
}
AXIS_WORDS: Final = {
    "model": "Model",
    "workload": "Workload",
    "method": "Method",
    "weight_format": "Weight format",
    "kv_cache_dtype": "KV cache dtype",
    "context_tokens": "Context tokens",
    "concurrent_sequences": "Concurrent sequences",
    "max_num_seqs": "Max sequences",
    "max_num_batched_tokens": "Max batched tokens",
    "optimizer": "Optimizer",
    "sequence_tokens": "Sequence tokens",
    "micro_batch_size": "Micro batch size",
    "gradient_accumulation_steps": "Gradient accumulation steps",
    "gradient_checkpointing": "Gradient checkpointing",
    "lora_rank": "LoRA rank",
}
METHOD_WORDS: Final = {
    "inference": "inference",
    "full": "full fine-tune",
    "lora": "LoRA",
    "dora": "DoRA",
    "qlora": "QLoRA",
}
_HUB_NAME: Final = re.compile(r"[\w.-]+/[\w.-]+")
_KIBI: Final = 1024
_BILLION: Final = 1e9
_EPSILON: Final = 1e-9


def gib(size: float | None, digits: int = 1) -> str:
    """A size in GiB as a number with one decimal; a trace of memory is `<0.1`."""
    if size is None:
        return ""
    floor = 10.0**-digits
    if 0 < size < floor / 2:
        return f"<{floor:.{digits}f}"
    return f"{size:,.{digits}f}"


def usd(amount: float | None, currency: str = "USD") -> str:
    """Money with cents below 100 and whole units above: `$1.29`, `$1,234`."""
    if amount is None:
        return ""
    sign = "$" if currency == "USD" else f"{currency} "
    if amount and abs(amount) < 0.1:
        return f"{sign}{amount:,.4f}"
    return f"{sign}{amount:,.2f}" if abs(amount) < 100 else f"{sign}{amount:,.0f}"


_GPU_ID_EDGE: Final = r"[\w-]"
_MONEY_SPOKEN: Final = (
    re.compile(r"(?<![\w.])(\d[\d,]*(?:\.\d+)?) USD per hour\b"),
    re.compile(r"\$(\d[\d,]*(?:\.\d+)?) per hour\b"),
)
_TIMES_SPOKEN: Final = re.compile(r"\b(needs \d+(?:\.\d+)?)x(?!\w)")


def spoken(text: str, gpu_names: Mapping[str, str], currency: str = "USD") -> str:
    """A sentence of the plan for people: GPUs by name, money as `$0.40 an hour`."""
    if gpu_names:
        ids = "|".join(re.escape(gpu) for gpu in sorted(gpu_names, key=len, reverse=True))
        pattern = rf"(?<!{_GPU_ID_EDGE})({ids})(?!{_GPU_ID_EDGE})"
        text = re.sub(pattern, lambda found: gpu_names[found[1]], text)

    def price(found: re.Match[str]) -> str:
        return f"{usd(float(found[1].replace(',', '')), currency)} an hour"

    for money in _MONEY_SPOKEN:
        text = money.sub(price, text)
    return _TIMES_SPOKEN.sub(r"\1×", text)


def free_percent(utilization: float) -> str:
    """Share of usable memory left free, rounded down: `43%`."""
    return f"{math.floor((1 - utilization) * 100 + _EPSILON)}%"


def needs_factor(total: float, budget: float) -> str:
    """How many times over the budget, rounded up: `3.5x`."""
    if budget <= 0:
        return "more"
    return f"{math.ceil(total / budget * 10 - _EPSILON) / 10:.1f}x"


def surcharge(ratio: float | None) -> str:
    """What a runner-up costs on top: `+18%`, `same price`."""
    if ratio is None:
        return ""
    percent = round(ratio * 100)
    if abs(percent) >= 100:
        return f"{1 + ratio:.1f}x the price"
    return "same price" if percent == 0 else f"{percent:+d}%"


def count(value: float | None) -> str:
    """A whole number with separators."""
    return "" if value is None else f"{value:,.0f}"


def plain_number(value: float) -> str:
    """A number that is already rounded: `1,200`, `8.5`, `0.12`."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"


def parameters(value: float) -> str:
    """A parameter count: `8.03 B`, `671 B`, `560 M`."""
    scaled, unit = (value / _BILLION, "B") if value >= _BILLION else (value / 1e6, "M")
    digits = 2 if scaled < 10 else 1 if scaled < 100 else 0
    return f"{scaled:.{digits}f} {unit}"


def tokens(value: int) -> str:
    """A token count as people write it: `8k` for 8192, else with separators."""
    if value >= _KIBI and value % _KIBI == 0:
        return f"{value // _KIBI}k"
    return f"{value:,}"


def model_name(model: str) -> str:
    """The model without its organisation."""
    return model.rpartition("/")[2] if _HUB_NAME.fullmatch(model) else model


def times_sign(label: str) -> str:
    """`2x H100` with a real multiplication sign."""
    head, x, tail = label.partition("x ")
    return f"{head}× {tail}" if x and head.isdigit() else label


_AXIS_FORMS: Final = {
    "context_tokens": "{} ctx",
    "concurrent_sequences": "{} seqs",
    "sequence_tokens": "{} tokens",
    "micro_batch_size": "batch {}",
    "kv_cache_dtype": "KV {}",
    "lora_rank": "rank {}",
    "max_num_seqs": "max {} seqs",
    "gradient_accumulation_steps": "accumulate {}",
}
_CHECKPOINTING: Final = {"full": "checkpointing", "none": "no checkpointing"}


def axis_value(axis: str, value: Any) -> str:
    """One value of an axis in a few characters: `8k ctx`, `KV fp8`, `batch 4`."""
    if axis == "gradient_checkpointing":
        return _CHECKPOINTING.get(str(value), f"checkpointing {value}")
    if axis == "method":
        return METHOD_WORDS.get(str(value), str(value))
    form = _AXIS_FORMS.get(axis)
    if axis.endswith("_tokens") and isinstance(value, int):
        value = tokens(value)
    if form:
        return form.format(value)
    plain = axis in ("model", "workload", "weight_format", "optimizer")
    return str(value) if plain else f"{axis} {value}"


def case_words(method: str, values: Mapping[str, Any], varying: frozenset[str]) -> str:
    """What sets a case apart from its neighbours, in a line."""
    shown = {axis: value for axis, value in values.items() if axis in varying}
    parts = [axis_value(axis, value) for axis, value in shown.items() if axis != "method"]
    if method != "inference":
        parts.insert(0, METHOD_WORDS.get(method, method))
    return " · ".join(parts)


def free_percent_column() -> pl.Expr:
    """`free_percent` over a column `utilization`."""
    whole = ((1 - pl.col("utilization")) * 100 + _EPSILON).floor()
    return pl.format("{}%", whole.cast(pl.Int64))


def needs_factor_column() -> pl.Expr:
    """`needs_factor` over `total_gib` and `budget_gib`."""
    tenths = (pl.col("total_gib") / pl.col("budget_gib") * 10 - _EPSILON).ceil().cast(pl.Int64)
    return (
        pl.when(pl.col("budget_gib") > 0)
        .then(pl.format("{}.{}x", tenths // 10, tenths % 10))
        .otherwise(pl.lit("more"))
    )
