"""Configurations of TRL, axolotl and torchtune as scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from planner.interop.foreign import Foreign, Imported, foreign_yaml, names, refused, whole

_OPTIMIZERS: Final = {
    "adamw_torch": "adamw", "adamw_torch_fused": "adamw", "adamw_hf": "adamw",
    "adamw": "adamw", "adamw_apex_fused": "adamw",
    "adamw_bnb_8bit": "adamw-8bit", "adamw_8bit": "adamw-8bit", "paged_adamw": "paged-adamw",
    "paged_adamw_32bit": "paged-adamw", "paged_adamw_8bit": "paged-adamw-8bit",
    "adamw_torch_4bit": "adamw-4bit", "adafactor": "adafactor", "sgd": "sgd",
    "lion_32bit": "lion", "lion_8bit": "lion-8bit",
    "torch.optim.AdamW": "adamw", "torch.optim.SGD": "sgd",
    "bitsandbytes.optim.AdamW8bit": "adamw-8bit", "torchao.optim.AdamW8bit": "adamw-8bit",
    "bitsandbytes.optim.PagedAdamW": "paged-adamw",
    "bitsandbytes.optim.PagedAdamW8bit": "paged-adamw-8bit",
}  # fmt: skip
_ATTENTION: Final = {"flash_attention_2": "flash", "flash_attention_3": "flash", "sdpa": "sdpa",
                     "eager": "eager"}  # fmt: skip
_SILENT: Final = frozenset({
    "learning_rate", "lr_scheduler_type", "lr_scheduler", "warmup_ratio", "warmup_steps",
    "logging_steps", "save_steps", "save_strategy", "save_total_limit", "output_dir", "seed",
    "report_to", "dataset_name", "dataset_config", "datasets", "dataset_prepared_path",
    "weight_decay", "max_grad_norm", "eval_strategy", "eval_steps", "val_set_size", "wandb_project",
    "wandb_entity", "wandb_name", "wandb_watch", "wandb_log_model", "run_name", "push_to_hub",
    "hub_model_id", "lora_alpha", "resume_from_checkpoint", "tokenizer_type", "model_type",
    "special_tokens", "chat_template", "train_on_inputs", "group_by_length", "strict",
    "saves_per_epoch", "evals_per_epoch", "eval_table_size", "debug", "early_stopping_patience",
    "xformers_attention", "local_rank", "lora_model_dir", "tf32", "lora_fan_in_fan_out",
    "checkpointer", "shuffle", "metric_logger", "log_every_n_steps", "log_peak_memory_stats",
    "save_adapter_weights_only", "profiler", "device", "log_level", "max_steps_per_epoch",
    "loraplus_lr_ratio", "remove_unused_columns", "dataloader_num_workers", "do_eval",
    "hf_use_auth_token", "loss_watchdog_threshold", "loss_watchdog_patience", "plugins",
})  # fmt: skip
_TUNE_MODULES: Final = {"output_proj": "o_proj"}


def from_trl(text: str, file: str, gpus: Sequence[str] = ("all",), count: int = 1) -> Imported:
    """The scenario of a TRL (SFT) configuration; what it leaves out takes TRL's defaults.

    Raises:
        InputProblems: it names no model, or a value can't be read.
    """
    found = Foreign(foreign_yaml(text, file))
    model = _model(found, file, "model_name_or_path", "model_name")
    notes = ["what the file leaves out has TRL's defaults: length 1024, batch 8, checkpointing on"]
    four, eight = found.flag("load_in_4bit"), found.flag("load_in_8bit")
    adapter = found.flag("use_peft") or found.get("lora_r") is not None or four or eight
    workload: dict[str, Any] = {
        "name": "tune",
        "framework": "trl",
        **_method(adapter, four, eight, dora=found.flag("use_dora")),
        "optimizer": _optimizer(found.get("optim", default="adamw_torch_fused"), file),
        "sequence_tokens": whole(
            found.get("max_length", "max_seq_length", default=1024), "max_length", file
        ),
        "micro_batch_size": whole(
            found.get("per_device_train_batch_size", default=8), "batch", file
        ),
        "gradient_accumulation_steps": whole(
            found.get("gradient_accumulation_steps", default=1), "accumulation", file
        ),
        "gradient_checkpointing": _checkpointing(found, default=True),
        "attention": _attention(found.get("attn_implementation", default="sdpa"), file),
        "packing": found.flag("packing"),
        "torch_compile": found.flag("torch_compile"),
    }
    if found.flag("use_liger_kernel") or found.flag("use_liger"):
        workload["loss_kernel"] = "liger"
    quantized = found.get("bnb_4bit_quant_type", "use_bnb_nested_quant")
    if four:
        nested = found.flag("use_bnb_nested_quant")
        workload["weight_format"] = "nf4-dq" if nested else "nf4"
        if quantized == "fp4":
            workload["weight_format"] = "fp4-bnb"
    for key in ("bf16", "fp16", "dtype", "torch_dtype"):
        found.get(key)
    if found.flag("fp16"):
        workload["compute_dtype"] = "fp16"
    _lora(workload, found, adapter, found.get("lora_target_modules"), file, everything="all-linear")
    _epochs(found, "num_train_epochs", notes)
    return _scenario(model, workload, notes, found, gpus, count, "TRL")


def from_axolotl(text: str, file: str, gpus: Sequence[str] = ("all",), count: int = 1) -> Imported:
    """The scenario of an axolotl configuration. Raises: see from_trl."""
    found = Foreign(foreign_yaml(text, file))
    model = _model(found, file, "base_model")
    notes = ["axolotl runs on the Hugging Face Trainer: its preset stands in"]
    adapter = found.get("adapter")
    if adapter not in (None, "", "lora", "qlora"):
        raise refused(file, f"adapter '{adapter}' has no counterpart", "lora, qlora or none")
    four = found.flag("load_in_4bit") or adapter == "qlora"
    workload: dict[str, Any] = {
        "name": "tune",
        "framework": "trl",
        **_method(
            bool(adapter), four, found.flag("load_in_8bit"), dora=found.flag("peft_use_dora")
        ),
        "optimizer": _optimizer(found.get("optimizer", default="adamw_torch_fused"), file),
        "sequence_tokens": whole(found.get("sequence_len", default=512), "sequence_len", file),
        "micro_batch_size": whole(found.get("micro_batch_size", default=1), "batch", file),
        "gradient_accumulation_steps": whole(
            found.get("gradient_accumulation_steps", default=1), "accumulation", file
        ),
        "gradient_checkpointing": _checkpointing(found, default=False),
        "attention": _axolotl_attention(found),
        "packing": found.flag("sample_packing"),
        "torch_compile": found.flag("torch_compile"),
    }
    if found.flag("liger_fused_linear_cross_entropy"):
        workload["loss_kernel"] = "liger"
    if four:
        workload["weight_format"] = "nf4-dq"
    for key in ("bf16", "fp16", "tokenizer_config", "pad_to_sequence_len", "eval_sample_packing"):
        found.get(key)
    if found.flag("fp16") and not found.flag("bf16"):
        workload["compute_dtype"] = "fp16"
    targets = "all-linear" if found.flag("lora_target_linear") else found.get("lora_target_modules")
    _lora(workload, found, bool(adapter), targets, file, everything="all-linear")
    _epochs(found, "num_epochs", notes)
    imported = _scenario(model, workload, notes, found, gpus, count, "axolotl")
    sharding = _axolotl_sharding(found)
    if sharding:
        imported.scenario["supply"]["parallel"] = {"sharding": sharding}
        imported.notes = [n for n in imported.notes if not n.startswith(("'deepspeed'", "'fsdp"))]
    return imported


def _axolotl_attention(found: Foreign) -> str:
    if found.flag("flash_attention"):
        return "flash"
    return "eager" if found.flag("eager_attention") else "sdpa"


def _axolotl_sharding(found: Foreign) -> str | None:
    if found.get("fsdp", "fsdp_config"):
        return "fsdp"
    name = str(found.get("deepspeed", default=""))
    return next((zero for zero in ("zero1", "zero2", "zero3") if zero in name), None)


def from_torchtune(
    text: str, file: str, gpus: Sequence[str] = ("all",), count: int = 1
) -> Imported:
    """The scenario of a torchtune recipe's configuration. Raises: see from_trl."""
    found = Foreign(foreign_yaml(text, file))
    folder = str(found.get("checkpointer.checkpoint_dir", "checkpoint_dir", default="")).rstrip("/")
    model = folder.rpartition("/")[2] if folder.startswith(("/", "$")) else folder
    if not model:
        raise refused(file, "names no checkpoint_dir", "it tells which model is tuned")
    notes = [f"the model is named after checkpoint_dir '{folder}': mend it if the catalog can't"]
    rank = found.get("model.lora_rank")
    base = found.get("model.quantize_base", default=False)
    component = str(found.get("model._component_", default=""))
    four = bool(base) or "qlora" in component
    workload: dict[str, Any] = {
        "name": "tune",
        "framework": "torchtune",
        **_method(rank is not None, four, False, dora=bool(found.get("model.use_dora"))),
        "optimizer": _optimizer(
            found.get("optimizer._component_", default="torch.optim.AdamW"), file
        ),
        "sequence_tokens": whole(
            found.get("tokenizer.max_seq_len", default=8192), "max_seq_len", file
        ),
        "micro_batch_size": whole(found.get("batch_size", default=1), "batch_size", file),
        "gradient_accumulation_steps": whole(
            found.get("gradient_accumulation_steps", default=1), "accumulation", file
        ),
        "gradient_checkpointing": (
            "full" if found.flag("enable_activation_checkpointing") else "none"
        ),
        "packing": str(found.get("dataset.packed", default=False)).lower() == "true",
        "torch_compile": found.flag("compile"),
    }
    if found.get("tokenizer.max_seq_len") is None:
        notes.append("tokenizer.max_seq_len is not given: samples of 8192 tokens are assumed")
    if found.flag("optimizer_in_bwd"):
        workload["optimizer_in_backward"] = True
    if found.flag("enable_activation_offloading"):
        workload["offload"] = "activations-cpu"
    loss = str(found.get("loss._component_"))
    if "LinearCrossEntropy" in loss or "ChunkedOutput" in loss:
        workload["loss_kernel"] = "chunked"
    if str(found.get("dtype", default="bf16")) == "fp32":
        workload["compute_dtype"] = "fp32"
    if rank is not None:
        workload["lora"] = {
            "rank": whole(rank, "lora_rank", file),
            "targets": _tune_targets(found),
            "dropout": float(found.get("model.lora_dropout", default=0.0)),
        }
    _epochs(found, "epochs", notes)
    return _scenario(model, workload, notes, found, gpus, count, "torchtune")


def _tune_targets(found: Foreign) -> Any:
    attention = [_TUNE_MODULES.get(m, m) for m in names(found.get("model.lora_attn_modules"))]
    if str(found.get("model.apply_lora_to_mlp", default=False)).lower() != "true":
        return attention or ["q_proj", "v_proj"]
    full = {"q_proj", "k_proj", "v_proj", "o_proj"}
    if set(attention) >= full:
        return "all-linear"
    return [*attention, "gate_proj", "up_proj", "down_proj"]


def _method(adapter: bool, four: bool, eight: bool, *, dora: bool) -> dict[str, Any]:
    if not adapter:
        return {"method": "full"}
    if four:
        return {"method": "qlora"}
    if eight:
        return {"method": "qlora", "weight_format": "int8-bnb"}
    return {"method": "dora" if dora else "lora"}


def _model(found: Foreign, file: str, *keys: str) -> str:
    model = found.get(*keys)
    if not model:
        raise refused(file, f"names no model: '{keys[0]}' is missing")
    return str(model)


def _optimizer(name: Any, file: str) -> str:
    if str(name) not in _OPTIMIZERS:
        known = ", ".join(sorted(set(_OPTIMIZERS.values())))
        raise refused(file, f"optimizer '{name}' has no counterpart", f"the planner knows {known}")
    return _OPTIMIZERS[str(name)]


def _attention(name: Any, file: str) -> str:
    if str(name) not in _ATTENTION:
        raise refused(file, f"attention '{name}' has no counterpart", ", ".join(_ATTENTION))
    return _ATTENTION[str(name)]


def _checkpointing(found: Foreign, *, default: bool) -> str:
    value = found.get("gradient_checkpointing", default=default)
    found.get("gradient_checkpointing_kwargs")
    return "full" if str(value).lower() in ("true", "unsloth", "offload") else "none"


def _lora(
    workload: dict[str, Any],
    found: Foreign,
    adapter: bool,
    targets: Any,
    file: str,
    *,
    everything: str,
) -> None:
    rank = found.get("lora_r", "lora_rank", default=16)
    dropout = found.get("lora_dropout", default=0.0)
    if adapter:
        listed = names(targets)
        workload["lora"] = {
            "rank": whole(rank, "lora_r", file),
            "targets": everything if not listed or listed == [everything] else listed,
            "dropout": float(dropout),
        }


def _epochs(found: Foreign, key: str, notes: list[str]) -> None:
    value = found.get(key)
    if value is not None:
        notes.append(
            f"{key} {value}: cost needs demand {{training_tokens: ..., epochs: {value}}}; add it"
        )


def _scenario(
    model: str,
    workload: dict[str, Any],
    notes: list[str],
    found: Foreign,
    gpus: Sequence[str],
    count: int,
    tool: str,
) -> Imported:
    notes += [f"'{name}' is not part of the plan" for name in found.unused(_SILENT)]
    scenario = {
        "version": 1,
        "name": f"{model} with {tool}",
        "models": [model],
        "workloads": [workload],
        "supply": {"gpus": list(gpus), "gpu_counts": [count]},
    }
    return Imported(scenario, notes)
