"""Small checkpoints that are real in every header: a Llama of a few thousand parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.hubserver import safetensors

Shapes = dict[str, tuple[str, tuple[int, ...]]]
CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 256,
    "max_position_embeddings": 512,
    "dtype": "bfloat16",
    "tie_word_embeddings": False,
    "rms_norm_eps": 1e-6,
}
# Embedding and head 2 x 256 x 64; a layer: q, o 2 x 64 x 64, k, v 2 x 32 x 64,
# gate, up, down 3 x 64 x 128, two norms of 64; a last norm of 64.
PARAMETERS = 2 * 256 * 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 128 + 2 * 64) + 64


def tensors(layers: int = 2, dtype: str = "BF16") -> Shapes:
    """Names, dtypes and shapes as the real class saves them."""
    linear = {
        "self_attn.q_proj": (64, 64),
        "self_attn.k_proj": (32, 64),
        "self_attn.v_proj": (32, 64),
        "self_attn.o_proj": (64, 64),
        "mlp.gate_proj": (128, 64),
        "mlp.up_proj": (128, 64),
        "mlp.down_proj": (64, 128),
        "input_layernorm": (64,),
        "post_attention_layernorm": (64,),
    }
    found: Shapes = {
        "model.embed_tokens.weight": (dtype, (256, 64)),
        "lm_head.weight": (dtype, (256, 64)),
        "model.norm.weight": (dtype, (64,)),
    }
    for i in range(layers):
        found |= {f"model.layers.{i}.{n}.weight": (dtype, shape) for n, shape in linear.items()}
    return found


def config_bytes(**changes: Any) -> bytes:
    """A config.json."""
    return json.dumps({**CONFIG, **changes}).encode()


def files(**changes: Any) -> dict[str, bytes]:
    """A checkpoint in one file."""
    return {"config.json": config_bytes(**changes), "model.safetensors": safetensors(tensors())}


def sharded_files(**changes: Any) -> dict[str, bytes]:
    """The same in two files with an index."""
    everything = list(tensors().items())
    parts = {
        "model-00001-of-00002.safetensors": dict(everything[:8]),
        "model-00002-of-00002.safetensors": dict(everything[8:]),
    }
    weight_map = {name: shard for shard, held in parts.items() for name in held}
    index = {"metadata": {"total_size": 2 * PARAMETERS}, "weight_map": weight_map}
    return {
        "config.json": config_bytes(**changes),
        "model.safetensors.index.json": json.dumps(index).encode(),
        **{shard: safetensors(held) for shard, held in parts.items()},
    }


def write(folder: Path, content: dict[str, bytes]) -> Path:
    """Files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return folder
