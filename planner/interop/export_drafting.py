"""Speculative decoding as arguments: the draft model and the tokens it drafts in a step."""

from __future__ import annotations

import json
from typing import Final

from planner.interop.launch import Launch, refuse
from planner.resolve.engine_profiles import Version, parse_version

DRAFT_SPELLING: Final = (
    "# older builds: --draft-max in place of --spec-draft-n-max, and no --spec-type"
)
DRAFT_CHECKPOINT: Final = (
    "# draft model: the estimate is for the weights as its checkpoint stores them; name such a GGUF"
)
_VLLM_CONFIG_FROM: Final[Version] = (0, 8)
_VLLM_WITHOUT: Final[tuple[Version, Version]] = ((0, 10), (0, 15))
_SGLANG_FROM: Final[Version] = (0, 5, 4)


def drafts(launch: Launch) -> bool:
    """Whether the estimate counted speculative decoding."""
    return bool(launch.get("draft_model")) or launch.whole("speculative_tokens", 0) > 0


def vllm_drafting(launch: Launch) -> list[str]:
    """`--speculative-config` with the draft model; nothing without speculative decoding.

    vLLM tells from the checkpoint which method it is for.

    Raises:
        InputProblems: there is no draft model, or the version takes none.
    """
    if not drafts(launch):
        return []
    model = _draft_model(launch, "vllm")
    version = parse_version(launch.get("engine_version"))
    if version and version < _VLLM_CONFIG_FROM:
        raise refuse("vllm", "vLLM has --speculative-config from 0.8 on", _hint("vLLM"))
    if version and _VLLM_WITHOUT[0] <= version < _VLLM_WITHOUT[1]:
        message = "vLLM takes draft models to 0.9 and again from 0.15 on"
        raise refuse("vllm", message, _hint("vLLM"))
    tokens = launch.whole("speculative_tokens")
    config = {"model": model, "num_speculative_tokens": tokens}
    return ["--speculative-config", json.dumps(config)]


def sglang_drafting(launch: Launch, *, quantises: bool) -> list[str]:
    """A draft model of its own (STANDALONE) that drafts one chain of tokens a step.

    With one branch SGLang verifies a token more than it drafts, whatever it is told.

    Args:
        launch: the cell.
        quantises: whether the weights are quantised while they load. SGLang would do the same to
            the draft model, which the estimate keeps as stored.

    Raises:
        InputProblems: there is no draft model, or it would not be loaded as estimated.
    """
    if not drafts(launch):
        return []
    model = _draft_model(launch, "sglang")
    version = parse_version(launch.get("engine_version"))
    if version and version < _SGLANG_FROM:
        message = "SGLang takes draft models of their own from 0.5.4 on"
        raise refuse("sglang", message, _hint("SGLang"))
    if quantises:
        message = "SGLang would quantise the draft model like the model, the estimate does not"
        raise refuse("sglang", message, "set weight_format: checkpoint or bf16")
    tokens = launch.whole("speculative_tokens")
    return [
        "--speculative-algorithm", "STANDALONE",
        "--speculative-draft-model-path", model,
        "--speculative-num-steps", str(tokens),
        "--speculative-eagle-topk", "1",
        "--speculative-num-draft-tokens", str(tokens + 1),
    ]  # fmt: skip


def llama_cpp_drafting(launch: Launch, cache_type: str | None) -> list[str]:
    """The draft model with all its layers on GPUs and the model's own type of cache.

    Its context is that of the model where no other is asked for.

    Raises:
        InputProblems: there is no draft model, or it is a fork with other options.
    """
    if not drafts(launch):
        return []
    model = _draft_model(launch, launch.engine)
    if launch.engine != "llama.cpp":
        raise refuse(launch.engine, f"drafting options of {launch.engine} are not certain")
    words = ["--model-draft", f"{model.rpartition('/')[2]}.gguf"]
    # A draft model alone is loaded and not used: the type is none by default.
    words += ["--spec-type", "draft-simple"]
    words += ["--spec-draft-n-max", str(launch.whole("speculative_tokens"))]
    words += ["--n-gpu-layers-draft", "999"]
    if cache_type is not None:
        words += ["--cache-type-k-draft", cache_type, "--cache-type-v-draft", cache_type]
    return words


def _draft_model(launch: Launch, target: str) -> str:
    model = launch.get("draft_model")
    if not model:
        message = "speculative_tokens without draft_model: which heads draft is not known"
        raise refuse(target, message, "name a draft_model, or leave speculative_tokens out")
    return str(model)


def _hint(engine: str) -> str:
    return f"estimate a newer version of {engine}, or leave draft_model out"
