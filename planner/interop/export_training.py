"""Configurations of training tools, with the values that the estimate used."""

from __future__ import annotations

import json
import shlex
from typing import Any, Final

from planner.interop.foreign import dump_yaml
from planner.interop.launch import Launch, refuse

_HF_OPTIMIZERS: Final = {
    "adamw": "adamw_torch_fused",
    "adamw-fp32": "adamw_torch",
    "adamw-8bit": "adamw_bnb_8bit",
    "paged-adamw": "paged_adamw_32bit",
    "paged-adamw-8bit": "paged_adamw_8bit",
    "adamw-4bit": "adamw_torch_4bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "lion": "lion_32bit",
    "lion-8bit": "lion_8bit",
    "adamw-mixed-fp32-master": "adamw_torch_fused",
}
_TORCHTUNE_OPTIMIZERS: Final = {
    "adamw": ("torch.optim.AdamW", {"fused": True}),
    "adamw-8bit": ("bitsandbytes.optim.AdamW8bit", {}),
    "paged-adamw": ("bitsandbytes.optim.PagedAdamW", {}),
    "paged-adamw-8bit": ("bitsandbytes.optim.PagedAdamW8bit", {}),
    "sgd": ("torch.optim.SGD", {}),
}
_ATTENTION: Final = {"flash": "flash_attention_2", "sdpa": "sdpa", "eager": "eager"}
_TORCH_DTYPES: Final = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
_HF_FRAMEWORKS: Final = frozenset({"trl", "hf-trainer", "fsdp", "deepspeed", "fms", "torch-loop",
                                   "oracle", "unsloth-like", "ms-swift"})  # fmt: skip
_ZERO: Final = {"zero1": 1, "zero2": 2, "zero3": 3}
_DENSE: Final = ("q_proj", "k_proj", "v_proj", "output_proj")


def need_training(launch: Launch, target: str) -> None:
    """Refuse a serving cell. Raises InputProblems."""
    if launch.serves:
        raise refuse(target, "the case is inference", f"export it as {launch.engine}")


def trl_config(launch: Launch) -> str:
    """Arguments of `trl sft --config FILE` (SFTConfig, ModelConfig).

    Raises:
        InputProblems: the cell is not of the Hugging Face Trainer's family, or its optimizer has
            no name there.
    """
    need_training(launch, "trl")
    if launch.engine not in _HF_FRAMEWORKS:
        raise refuse("trl", f"the case was estimated for {launch.engine}", "export it as that")
    optimizer = str(launch.get("optimizer"))
    if optimizer not in _HF_OPTIMIZERS:
        raise refuse("trl", f"the Trainer has no optimizer '{optimizer}'")
    compute = str(launch.get("compute_dtype") or "bf16")
    config: dict[str, Any] = {
        "model_name_or_path": launch.model,
        "attn_implementation": _ATTENTION[str(launch.get("attention", "sdpa"))],
        "dtype": _weights_dtype(launch),
        "max_length": launch.whole("sequence_tokens"),
        "packing": bool(launch.get("packing", False)),
        "per_device_train_batch_size": launch.whole("micro_batch_size"),
        "gradient_accumulation_steps": launch.whole("gradient_accumulation_steps"),
        "gradient_checkpointing": launch.get("gradient_checkpointing") == "full",
        "optim": _HF_OPTIMIZERS[optimizer],
        "bf16": compute == "bf16" and _autocasts(launch),
        "fp16": compute == "fp16" and _autocasts(launch),
        "torch_compile": bool(launch.get("torch_compile", False)),
        "use_liger_kernel": launch.get("loss_kernel") == "liger",
        "output_dir": f"out/{launch.name}",
    }
    if launch.get("epochs"):
        config["num_train_epochs"] = float(launch.get("epochs"))
    config |= _lora(launch)
    if launch.get("loss_kernel") == "chunked":
        config["loss_type"] = "chunked_nll"
    return _yaml(launch, config)


def _autocasts(launch: Launch) -> bool:
    """Whether mixed precision is on.

    Under FSDP accelerate then keeps fp32 copies of the weights, which only the preset `fsdp`
    estimates; any other preset there trains in the type of its weights.
    """
    if launch.engine in ("torch-loop", "oracle"):
        return False
    return launch.get("sharding") not in ("fsdp", "hsdp") or launch.engine == "fsdp"


def _weights_dtype(launch: Launch) -> str:
    weight_format = str(launch.get("weight_format", "bf16"))
    return _TORCH_DTYPES.get(weight_format, "bfloat16")


def _lora(launch: Launch) -> dict[str, Any]:
    method = launch.get("method")
    if method == "full":
        return {}
    targets = str(launch.get("lora_targets", "all-linear"))
    found: dict[str, Any] = {
        "use_peft": True,
        "lora_r": launch.whole("lora_rank"),
        "lora_alpha": 2 * launch.whole("lora_rank"),
        "lora_dropout": float(launch.get("lora_dropout", 0.0)),
        "lora_target_modules": targets if targets == "all-linear" else targets.split(";"),
    }
    if method == "dora":
        found["use_dora"] = True
    if method == "qlora":
        weight_format = str(launch.get("weight_format", "nf4-dq"))
        if weight_format == "int8-bnb":
            found["load_in_8bit"] = True
        else:
            found |= {
                "load_in_4bit": True,
                "bnb_4bit_quant_type": "fp4" if weight_format.startswith("fp4") else "nf4",
                "use_bnb_nested_quant": weight_format.startswith("nf4-dq"),
            }
    return found


def accelerate_config(launch: Launch) -> str:
    """The file of `accelerate launch --config_file`: processes, sharding, precision."""
    need_training(launch, "accelerate")
    sharding = _sharding(launch, "accelerate")
    nodes = launch.whole("nodes")
    compute = str(launch.get("compute_dtype") or "bf16")
    config: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "debug": False,
        "distributed_type": _distributed_type(launch, sharding),
        "downcast_bf16": "no",
        "machine_rank": 0,
        "main_training_function": "main",
        "mixed_precision": compute if compute in ("bf16", "fp16") and _autocasts(launch) else "no",
        "num_machines": nodes,
        "num_processes": launch.gpu_count,
        "rdzv_backend": "static",
        "same_network": True,
        "use_cpu": False,
    }
    if sharding in _ZERO:
        config["deepspeed_config"] = {
            "zero_stage": _ZERO[sharding],
            "gradient_accumulation_steps": launch.whole("gradient_accumulation_steps"),
            "offload_optimizer_device": _offload_device(launch),
            "offload_param_device": _offload_device(launch) if sharding == "zero3" else "none",
            "zero3_init_flag": sharding == "zero3",
        }
    elif sharding in ("fsdp", "hsdp"):
        config["fsdp_config"] = {
            "fsdp_version": 2,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_reshard_after_forward": True,
            "fsdp_offload_params": launch.get("offload") == "cpu",
            "fsdp_state_dict_type": "SHARDED_STATE_DICT",
            "fsdp_activation_checkpointing": False,
            "fsdp_cpu_ram_efficient_loading": True,
        }
    return _yaml(launch, config)


def _sharding(launch: Launch, target: str) -> str:
    """The sharding; ZeRO only of cells whose preset knows DeepSpeed's fp32 master weights."""
    sharding = str(launch.get("sharding", "none"))
    if sharding in _ZERO and launch.engine != "deepspeed":
        hint = "set framework: deepspeed in the scenario"
        message = f"ZeRO holds fp32 master weights that the preset {launch.engine} doesn't"
        raise refuse(target, message, hint)
    return sharding


def _distributed_type(launch: Launch, sharding: str) -> str:
    if sharding in _ZERO:
        return "DEEPSPEED"
    if sharding in ("fsdp", "hsdp"):
        return "FSDP"
    return "MULTI_GPU" if launch.gpu_count > 1 else "NO"


def _offload_device(launch: Launch) -> str:
    offload = str(launch.get("offload", "none"))
    return offload if offload in ("cpu", "nvme") else "none"


def deepspeed_config(launch: Launch) -> str:
    """DeepSpeed's JSON. Raises InputProblems where the cell is not sharded by ZeRO."""
    need_training(launch, "deepspeed")
    sharding = _sharding(launch, "deepspeed")
    if sharding not in _ZERO:
        hint = "put zero1, zero2 or zero3 into supply.parallel.sharding"
        raise refuse("deepspeed", f"the cell is sharded by '{sharding}'", hint)
    compute = str(launch.get("compute_dtype") or "bf16")
    batch = launch.whole("micro_batch_size")
    accumulate = launch.whole("gradient_accumulation_steps")
    zero: dict[str, Any] = {"stage": _ZERO[sharding]}
    device = _offload_device(launch)
    if device != "none":
        zero["offload_optimizer"] = {"device": device}
        if sharding == "zero3":
            zero["offload_param"] = {"device": device}
    config = {
        "train_micro_batch_size_per_gpu": batch,
        "gradient_accumulation_steps": accumulate,
        "train_batch_size": batch * accumulate * launch.whole("data_parallel_size"),
        "bf16": {"enabled": compute == "bf16"},
        "fp16": {"enabled": compute == "fp16"},
        "zero_optimization": zero,
    }
    return json.dumps(config, indent=2) + "\n"


def torchtune_script(launch: Launch) -> str:
    """`tune run` with overrides; the model's own recipe config is named by $TUNE_CONFIG.

    Raises:
        InputProblems: the cell was estimated for another framework, or its optimizer has no class.
    """
    need_training(launch, "torchtune")
    if launch.engine != "torchtune":
        hint = "set framework: torchtune in the scenario"
        raise refuse("torchtune", f"the case was estimated for {launch.engine}", hint)
    optimizer = str(launch.get("optimizer"))
    if optimizer not in _TORCHTUNE_OPTIMIZERS:
        raise refuse("torchtune", f"torchtune's recipes have no optimizer '{optimizer}'")
    component, settings = _TORCHTUNE_OPTIMIZERS[optimizer]
    full = launch.get("method") == "full"
    recipe = "full_finetune" if full else "lora_finetune"
    words = ["tune", "run"]
    if launch.gpu_count > 1:
        words += ["--nproc_per_node", str(launch.gpu_count // launch.whole("nodes"))]
    words.append(f"{recipe}_{'distributed' if launch.gpu_count > 1 else 'single_device'}")
    overrides: dict[str, Any] = {
        "output_dir": f"out/{launch.name}",
        "tokenizer.max_seq_len": launch.whole("sequence_tokens"),
        "dataset.packed": bool(launch.get("packing", False)),
        "batch_size": launch.whole("micro_batch_size"),
        "gradient_accumulation_steps": launch.whole("gradient_accumulation_steps"),
        "optimizer": component,
        **{f"optimizer.{name}": value for name, value in settings.items()},
        "enable_activation_checkpointing": launch.get("gradient_checkpointing") == "full",
        "enable_activation_offloading": launch.get("offload") == "activations-cpu",
        "compile": bool(launch.get("torch_compile", False)),
        "dtype": str(launch.get("compute_dtype") or "bf16"),
    }
    if full:
        overrides["optimizer_in_bwd"] = bool(launch.get("optimizer_in_backward", False))
    else:
        overrides |= {f"model.{name}": value for name, value in _torchtune_lora(launch).items()}
    if launch.get("epochs"):
        overrides["epochs"] = int(launch.get("epochs"))
    if launch.get("loss_kernel") == "chunked":
        overrides["loss"] = "torchtune.modules.loss.CEWithChunkedOutputLoss"
    return _script(launch, words, overrides)


def _script(launch: Launch, words: list[str], overrides: dict[str, Any]) -> str:
    def shown(value: Any) -> str:
        if isinstance(value, list):
            return f"[{','.join(map(str, value))}]"
        return str(value)

    lines = [shlex.join(words), '--config "${TUNE_CONFIG:?the config of the model, see: tune ls}"']
    lines += [shlex.quote(f"{name}={shown(value)}") for name, value in overrides.items()]
    return (
        f"# {launch.gpu_count}x {launch.get('gpu')}: {launch.model}\n"
        + " \\\n  ".join(lines)
        + "\n"
    )


def _torchtune_lora(launch: Launch) -> dict[str, Any]:
    targets = str(launch.get("lora_targets", "all-linear"))
    everything = targets == "all-linear"
    named = targets.split(";")
    modules = [{"o_proj": "output_proj"}.get(name, name) for name in named]
    return {
        "lora_attn_modules": list(_DENSE) if everything else [m for m in modules if m in _DENSE],
        "apply_lora_to_mlp": everything or "gate_proj" in named,
        "apply_lora_to_output": False,
        "lora_rank": launch.whole("lora_rank"),
        "lora_alpha": 2 * launch.whole("lora_rank"),
        "lora_dropout": float(launch.get("lora_dropout", 0.0)),
        "use_dora": launch.get("method") == "dora",
        "quantize_base": launch.get("method") == "qlora",
    }


def _yaml(launch: Launch, config: dict[str, Any]) -> str:
    head = f"# {launch.gpu_count}x {launch.get('gpu')}, {launch.get('sharding', 'none')} sharding\n"
    return head + dump_yaml(config)


def training_command(launch: Launch, config: str) -> list[str]:
    """The command that runs a training cell with its exported files beside it."""
    need_training(launch, "command")
    if launch.engine == "torchtune":
        return ["sh", "torchtune.sh"]
    return ["accelerate", "launch", "--config_file", "accelerate.yaml", "-m", "trl.scripts.sft",
            "--config", config]  # fmt: skip
