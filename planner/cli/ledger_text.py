"""One cell as text: a ledger with formulas and numbers, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from planner.plan import LedgerLine

_LABELS = {
    "cuda_context": "CUDA context",
    "cuda_graphs": "CUDA graphs",
    "kv_cache": "KV cache",
    "allocator_reserve": "allocator reserve",
    "recurrent_state": "recurrent state",
}


def ledger_text(
    cell: Mapping[str, Any],
    ledger: Sequence[LedgerLine],
    *,
    advice: str | None = None,
    sources: bool = True,
) -> str:
    """The cell's head, a line per item (low, expected, high in GiB), totals, verdict, advice."""
    lines = [*_lines(cell, ledger, sources), *([advice] if advice else [])]
    return "\n".join(lines)


def _lines(cell: Mapping[str, Any], ledger: Sequence[LedgerLine], sources: bool) -> Iterator[str]:
    layout = _layout(cell)
    yield f"{cell['case_id']}"
    yield f"on {cell['gpu_count']}× {cell['gpu']}{layout}, GiB per GPU of the most loaded rank"
    yield ""
    if cell["total_gib"] is None:
        yield f"{cell['verdict']}: {cell['reason']}"
        return
    yield f"{'':20}{'low':>10}{'expected':>10}{'high':>10}"
    for line in ledger:
        label = _LABELS.get(line.item, line.item.replace("_", " "))
        yield (
            f"{label:20}{line.low_gib:10.2f}{line.expected_gib:10.2f}{line.high_gib:10.2f}"
            f"  {line.substituted}"
        )
        if sources and line.formula and line.formula != line.substituted:
            yield f"{'':52}= {line.formula}"
        if sources and line.source:
            yield f"{'':52}[{line.source}]"
    low, total, high = (cell[f"total{end}_gib"] for end in ("_low", "", "_high"))
    yield f"{'total':20}{low:10.2f}{total:10.2f}{high:10.2f}  at {cell['peak_phase']}"
    yield f"{'budget':20}{'':10}{cell['budget_gib']:10.2f}{'':10}  of {cell['usable_gib']} usable"
    yield ""
    reason = f": {cell['reason']}" if cell["reason"] and cell["verdict"] != "fits" else ""
    yield f"{cell['verdict']}{reason}"
    yield from _more(cell)


def _layout(cell: Mapping[str, Any]) -> str:
    words = [
        f"{name} {cell[key]}"
        for name, key in (
            ("tensor", "tensor_parallel_size"),
            ("pipeline", "pipeline_parallel_size"),
            ("expert", "expert_parallel_size"),
            ("data", "data_parallel_size"),
        )
        if (cell.get(key) or 1) > 1
    ]
    if cell.get("sharding") not in (None, "none"):
        words.append(str(cell["sharding"]))
    return f" ({', '.join(words)})" if words else ""


def _more(cell: Mapping[str, Any]) -> Iterator[str]:
    if cell.get("max_context_tokens") is not None:
        yield (
            f"largest context at this concurrency: {cell['max_context_tokens']:,} tokens; "
            f"most sequences at this context: {cell['max_concurrent_sequences']:,}"
        )
    if cell.get("tokens_per_second") is not None:
        speed = f"speed: {cell['tokens_per_second']:,} tokens per second"
        if cell.get("time_to_first_token_ms") is not None:
            speed += (
                f", first token after {cell['time_to_first_token_ms']:,} ms, "
                f"then one each {cell['time_per_output_token_ms']:,} ms"
            )
        yield speed
    if cell.get("usd_per_hour") is not None:
        yield (
            f"price: {cell['usd_per_hour']} USD per hour from {cell['provider']} "
            f"({cell['instance_type']}, {cell['purchase']}, {cell['price_date'] or 'undated'})"
        )
    else:
        yield f"price: {cell['price_state']}"
    if cell.get("note"):
        yield f"note: {cell['note']}"
