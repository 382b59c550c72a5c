"""Accuracy of the training estimator against the oracle's runs of real model classes.

Run it alone: `python -m benchmarks.accuracy_training FOLDER`, with the folder that holds
`training_oracle/oracle.csv` and `measured/training.csv`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from planner.catalog.load import load_catalog
from planner.errors import PlannerError
from planner.estimate.training import estimate_training
from planner.resolve.arch import read_config
from planner.resolve.facts import ModelFacts
from planner.resolve.frameworks import frameworks_frame, optimizers_frame
from planner.resolve.tables import Tables, layers_frame, models_frame, tensors_frame
from planner.verify.training import cells_from_rows, estimates

MODEL_TYPES = {
    "llama": "llama",
    "qwen2.5": "qwen2",
    "qwen3-30b-a3b": "qwen3_moe",
    "qwen3": "qwen3",
    "mistral": "mistral",
    "mixtral": "mixtral",
    "gemma-2": "gemma2",
    "phi-3": "phi3",
    "gpt2": "gpt2",
    "tiny-llama": "llama",
}
EXTRA: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": None},
    "qwen3_moe": {"num_experts": 128, "num_experts_per_tok": 8},
    "gemma2": {
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "final_logit_softcapping": 30.0,
        "attn_logit_softcapping": 50.0,
    },
    "gpt2": {"activation_function": "gelu_new", "resid_pdrop": 0.1, "attn_pdrop": 0.1},
    "mistral": {"sliding_window": None},
}
TARGETS: dict[str, tuple[int | None, str | None]] = {
    "r8qv": (8, "q_proj;v_proj"),
    "r16all": (16, "all-linear"),
    "none": (None, None),
}
MOE = ("mixtral", "qwen3_moe")


def model_type(name: str) -> str:
    """transformers' model type of one of the oracle's short names."""
    return next(kind for prefix, kind in MODEL_TYPES.items() if name.startswith(prefix))


def oracle_config(row: dict[str, Any]) -> dict[str, Any]:
    """A config as the oracle's row describes it."""
    kind = model_type(row["model"])
    if kind == "gpt2":
        return {"model_type": kind, "n_layer": row["layers"], **EXTRA[kind]}
    width = "moe_intermediate_size" if kind == "qwen3_moe" else "intermediate_size"
    config = {
        "model_type": kind,
        "hidden_size": row["hidden"],
        width: row["ffn"],
        "num_hidden_layers": row["layers"],
        "num_attention_heads": row["heads"],
        "num_key_value_heads": row["kv_heads"],
        "head_dim": row["head_dim"],
        "vocab_size": row["vocab"],
        "tie_word_embeddings": bool(row["tied"]),
        "torch_dtype": "bfloat16",
        **EXTRA.get(kind, {}),
    }
    if kind == "gemma2" and row["attn"] == "sdpa":
        config["attn_logit_softcapping"] = None
    return config


def oracle_cells(rows: pl.DataFrame) -> tuple[pl.DataFrame, list[ModelFacts]]:
    """Cells of the oracle's rows, and the facts of their models."""
    facts: dict[str, ModelFacts] = {}
    cells = []
    for row in rows.iter_rows(named=True):
        name = f"{row['model']}/{row['layers']}/{row['attn']}"
        if name not in facts:
            facts[name] = read_config(oracle_config(row), model=name, source="oracle")
        cells.append(_cell(row, name))
    return pl.DataFrame(cells, infer_schema_length=None), list(facts.values())


def _cell(row: dict[str, Any], name: str) -> dict[str, Any]:
    rank, targets = TARGETS[row["lora"]]
    kind = model_type(row["model"])
    if kind == "gpt2" and targets:
        targets = "c_attn" if row["lora"] == "r8qv" else "c_attn;c_fc;c_proj"
    if kind == "phi3" and row["lora"] == "r8qv":
        targets = "qkv_proj"
    fp32 = row["dtype"].startswith("fp32")
    return {
        "case_id": str(row["index"]),
        "model": name,
        "method": row["method"],
        "weight_format": "fp32" if fp32 else "bf16",
        "compute_dtype": "fp32" if row["dtype"] == "fp32" else "bf16",
        "framework": _preset(row),
        "lora_rank": rank,
        "lora_targets": targets,
        "lora_dropout": float(row["lora_dropout"]),
        "adapter_dtype": "fp32" if row["adapter_fp32"] else "bf16",
        "sequence_tokens": row["seq"],
        "micro_batch_size": row["batch"],
        "gradient_accumulation_steps": 2 if row["accum"] else 1,
        "gradient_checkpointing": "full" if row["ckpt"] else "none",
        "attention": row["attn"],
        "padding": row["mask"] == "pad",
    }


def _preset(row: dict[str, Any]) -> str:
    if row["optim"] == "foreach":
        return "oracle-foreach"
    if row["dtype"] == "bf16_autocast":
        return "oracle-autocast"
    return "oracle-held" if row["hold_outputs"] else "oracle"


def oracle_tables(facts: list[ModelFacts]) -> Tables:
    """The tables that the estimator reads, with presets for the oracle's own switches."""
    catalog = load_catalog()
    plain = frameworks_frame().filter(pl.col("framework") == "oracle")
    variants = [
        plain,
        plain.with_columns(
            framework=pl.lit("oracle-foreach"), optimizer_implementation=pl.lit("foreach")
        ),
        plain.with_columns(framework=pl.lit("oracle-autocast"), autocast=pl.lit(True)),
        plain.with_columns(framework=pl.lit("oracle-held"), holds_logits=pl.lit(True)),
    ]
    return Tables(
        models=models_frame(facts).lazy(),
        layers=layers_frame(facts).lazy(),
        tensors=tensors_frame(facts).lazy(),
        gpus=catalog.gpus.lazy(),
        formats=catalog.formats.lazy(),
        optimizers=optimizers_frame().lazy(),
        engines=pl.LazyFrame(),
        frameworks=pl.concat(variants).lazy(),
    )


def oracle_estimates(path: Path) -> pl.DataFrame:
    """The oracle's rows beside the estimates: `allocated_bytes`, `peak_phase`, terms."""
    rows = pl.read_csv(path, infer_schema_length=None).with_row_index("index")
    cells, facts = oracle_cells(rows)
    estimated = estimate_training(cells.lazy(), oracle_tables(facts)).collect(engine="in-memory")
    return (
        rows.with_columns(case_id=pl.col("index").cast(pl.String))
        .join(estimated.drop("model"), on="case_id", how="left", suffix="_estimated")
        .with_columns(error=pl.col("allocated_bytes") / pl.col("peak_total") - 1)
    )


def summary(frame: pl.DataFrame) -> dict[str, float]:
    """Mean, 95th percentile and worst absolute relative error of the peak."""
    size = pl.col("error").abs()
    return frame.select(
        rows=pl.len(), mean=size.mean(), p95=size.quantile(0.95), worst=size.max()
    ).row(0, named=True)


def is_moe() -> pl.Expr:
    """Rows of mixture-of-experts models."""
    return pl.col("model").str.contains("mixtral|a3b")


def measured_estimates(folder: Path) -> pl.DataFrame:
    """The measured rows of `folder` (training.csv, models.csv, configs/) beside the estimates."""
    rows = pl.read_csv(folder / "training.csv", infer_schema_length=None)
    listed = pl.read_csv(folder / "models.csv").filter(pl.col("config").is_not_null())
    configs = dict(listed.select("model", "config").iter_rows())
    facts = []
    for name in rows["model"].unique(maintain_order=True):
        try:
            text = (folder / "configs" / configs[name]).read_text(encoding="utf-8")
            config = json.loads(text)
            config.pop("quantization_config", None)
            facts.append(read_config(config, model=name, source="measured"))
        except (KeyError, PlannerError, ValueError):
            continue
    known = rows.filter(pl.col("model").is_in([record.model for record in facts]))
    cards = load_catalog().gpus.select(
        "gpu", "usable_low_bytes", "usable_bytes", "usable_high_bytes"
    )
    cells = cells_from_rows(known).join(cards, on="gpu", how="left", maintain_order="left")
    tables = replace(oracle_tables(facts), frameworks=frameworks_frame().lazy())
    return estimates(cells, tables)


def training_rows(folder: Path) -> list[dict[str, Any]]:
    """The training section of the accuracy table: one row a group of runs.

    `folder` holds `training_oracle/oracle.csv` and `measured/`. Keys: source, group, rows, median,
    mean, p95, worst (absolute relative errors) and inside (share in the range; null for the
    oracle).
    """
    oracle = oracle_estimates(folder / "training_oracle" / "oracle.csv")
    rows = [
        _row("oracle", "dense, peak", oracle.filter(~is_moe()), ranged=False),
        _row("oracle", "experts, peak", oracle.filter(is_moe()), ranged=False),
    ]
    frame = measured_estimates(folder / "measured").filter(
        (pl.col("score") == "yes") & pl.col("error").is_not_null()
    )
    one = pl.col("gpu_count") == 1
    shown = pl.col("metric").is_in(["process", "device"])
    groups = {
        "one GPU, allocated": one & (pl.col("metric") == "allocated"),
        "one GPU, reserved": one & (pl.col("metric") == "reserved"),
        "one GPU, process and device": one & shown,
        "several GPUs, allocated": ~one & (pl.col("metric") == "allocated"),
        "several GPUs, reserved and device": ~one & (pl.col("metric") != "allocated"),
    }
    rows += [_row("measured", name, frame.filter(which)) for name, which in groups.items()]
    by_framework = frame.partition_by("source_framework", "metric", as_dict=True)
    rows += [
        _row("measured", f"{framework}, {metric}", part)
        for (framework, metric), part in sorted(by_framework.items())
    ]
    return rows


def _row(source: str, group: str, frame: pl.DataFrame, *, ranged: bool = True) -> dict[str, Any]:
    size = pl.col("error").abs()
    inside = frame["inside"].mean() if ranged else None
    return {
        "source": source,
        "group": group,
        **frame.select(
            rows=pl.len(),
            median=size.median(),
            mean=size.mean(),
            p95=size.quantile(0.95),
            worst=size.max(),
        ).row(0, named=True),
        "inside": inside,
    }


def main() -> None:
    """Prints the table of one reference folder."""
    for row in training_rows(Path(sys.argv[1])):
        errors = "  ".join(
            f"{name} {row[name]:6.2%}" for name in ("median", "mean", "p95", "worst")
        )
        inside = "" if row["inside"] is None else f"  in range {row['inside']:.1%}"
        print(f"{row['source']:9s} {row['group']:36s} {row['rows']:4d}  {errors}{inside}")


if __name__ == "__main__":
    main()
