"""`planner estimate`: one cell without a file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from planner.cli.ledger_text import ledger_text

_WORKLOAD_OPTIONS: Final = (
    "weight_format", "kv_cache_dtype", "optimizer", "micro_batch_size",
    "gradient_accumulation_steps", "gradient_checkpointing", "attention", "loss_kernel",
)  # fmt: skip
_ENGINE_OPTIONS: Final = ("gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens")


@click.command()
@click.option("--model", required=True, help="Catalog id or alias; a label with --config.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A config.json, checkpoint folder or GGUF file of the model.",
)
@click.option(
    "--method",
    type=click.Choice(["inference", "full", "lora", "dora", "qlora"]),
    default="inference",
    show_default=True,
)
@click.option("--gpu", required=True, help="GPU id or name, such as L4, H100, 'rtx 4090'.")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--weight-format", help="Default: the checkpoint's own; nf4-dq for qlora.")
@click.option("--engine", help="[inference; default: vllm]")
@click.option("--engine-version")
@click.option("--gpu-memory-utilization", type=float)
@click.option("--max-num-seqs", type=int)
@click.option("--max-num-batched-tokens", type=int)
@click.option("--kv-cache-dtype")
@click.option("--context-tokens", type=int, help="Room per sequence. [inference; default: 8192]")
@click.option("--concurrent-sequences", type=int, help="[inference; default: 1]")
@click.option("--framework", help="[training; default: trl]")
@click.option("--optimizer", help="[training; default: adamw]")
@click.option("--sequence-tokens", type=int, help="[training; default: 2048]")
@click.option("--micro-batch-size", type=int, help="[training; default: 1]")
@click.option("--gradient-accumulation-steps", type=int)
@click.option("--gradient-checkpointing", help="none, selective or full. [default: full]")
@click.option("--attention", help="eager, sdpa or flash.")
@click.option("--loss-kernel", help="none, fused, chunked or liger.")
@click.option("--lora-rank", type=int, help="[lora, dora, qlora; default: 16]")
@click.option("--lora-targets", help="Comma-separated. [default: all-linear]")
@click.option("--tensor-parallel-size", type=int)
@click.option("--pipeline-parallel-size", type=int)
@click.option("--sharding", help="ddp, zero1, zero2, zero3 or fsdp.")
@click.option("--memory-headroom", type=float, help="Share of usable memory kept free.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def estimate(as_json: bool, **options: Any) -> None:
    """Estimate one model on one GPU configuration.

    \b
    Examples:
      planner estimate --model llama-3.1-8b-instruct --gpu L4 --context-tokens 4096
      planner estimate --model llama-3.1-8b-instruct --method qlora --gpu "rtx 4090"
      planner estimate --model Qwen/Qwen3-32B --gpu H100 --count 2 --weight-format fp8 --json
    """
    from planner.choose import best_per_configuration
    from planner.pipeline import open_text
    from planner.pipeline.advice import advice_words
    from planner.pipeline.decide import decide
    from planner.pipeline.details import cell_details

    context = open_text(json.dumps(scenario_of(options)), "command line", Path.cwd())
    best = best_per_configuration(decide(context).lazy()).collect(engine="in-memory")
    detail = cell_details(context, best, all_ledgers=True)[0]
    advice = advice_words(context, best)[0]
    if as_json:
        lines = [asdict(line) for line in detail.ledger]
        found = {"cell": dict(detail.cell), "ledger": lines, "advice": advice}
        click.echo(json.dumps(found, indent=2, default=str))
    else:
        click.echo(ledger_text(detail.cell, detail.ledger, advice=advice, sources=False))


def scenario_of(options: dict[str, Any]) -> dict[str, Any]:
    """The scenario that a command line means: one workload, one GPU, one count."""
    given = {name: value for name, value in options.items() if value is not None}
    method = given["method"]
    workload: dict[str, Any] = {"name": "estimate", "method": method}
    workload |= {name: given[name] for name in _WORKLOAD_OPTIONS if name in given}
    if method == "inference":
        engine: dict[str, Any] = {name: given[name] for name in _ENGINE_OPTIONS if name in given}
        engine["name"] = given.get("engine", "vllm")
        if "engine_version" in given:
            engine["version"] = given["engine_version"]
        workload["engine"] = engine
        workload["context_tokens"] = given.get("context_tokens", 8192)
        workload["concurrent_sequences"] = given.get("concurrent_sequences", 1)
    else:
        workload["framework"] = given.get("framework", "trl")
        workload["sequence_tokens"] = given.get("sequence_tokens", 2048)
    workload |= _out_of_place(given, method)
    lora = {}
    if "lora_rank" in given:
        lora["rank"] = given["lora_rank"]
    if "lora_targets" in given:
        lora["targets"] = [name.strip() for name in given["lora_targets"].split(",")]
    if lora:
        workload["lora"] = lora
    model: Any = given["model"]
    if "config" in given:
        model = {"id": given["model"], "config": str(given["config"].absolute())}
    parallel = {
        key: given[option]
        for key, option in (
            ("tensor", "tensor_parallel_size"),
            ("pipeline", "pipeline_parallel_size"),
            ("sharding", "sharding"),
        )
        if option in given
    }
    supply = {"gpus": [given["gpu"]], "gpu_counts": [given["count"]]}
    constraints = {k: given[k] for k in ("memory_headroom",) if k in given}
    return {
        "version": 1,
        "models": [model],
        "workloads": [workload],
        "supply": supply | ({"parallel": parallel} if parallel else {}),
        **({"constraints": constraints} if constraints else {}),
    }


def _out_of_place(given: dict[str, Any], method: str) -> dict[str, Any]:
    """Options of the other kind of method: kept, so that the scenario check names them."""
    names = (
        ("framework", "sequence_tokens")
        if method == "inference"
        else ("engine", "context_tokens", "concurrent_sequences")
    )
    return {name: given[name] for name in names if name in given}
