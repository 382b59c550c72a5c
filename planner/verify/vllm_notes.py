"""What a vLLM log says of its run that no column holds: its worker, adapters, a draft model."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from planner.verify.inference_cells import V0_WORKER, may_be_v1
from planner.verify.reading import Values, setting

_WORKER: Final = r"Initializing an? (V\d) LLM engine"
_FALLEN_BACK: Final = r"[Ff]alling back to V0\b"
_ADAPTERS: Final = r"enable_lora['\"]?\s*[=:]\s*True|LoRAConfig\("
_ONE_ADAPTER: Final = "1"
_USUAL_RANK: Final = "16"
"""vLLM's `max_loras` and `max_lora_rank` where they are not set."""
_DRAFTING: Final = (
    r"(?<!\w)speculative_config['\"]?\s*[=:]\s*['\"]?(SpeculativeConfig\([^)]*|\{[^}]*)"
)
_WITHOUT_MODEL: Final = frozenset({"None", "ngram", "[ngram]", "suffix"})


class RunNotes(NamedTuple):
    """Notes by which a run is estimated, as in a file's column `notes`, and those for the user."""

    of_run: tuple[str, ...]
    for_user: tuple[str, ...]


def run_notes(text: str, values: Values) -> RunNotes:
    """Notes on one start of vLLM, out of its log and the values that were read there."""
    of_run, for_user = [], []
    version = str(values.get("engine_version", ""))
    if _is_v0(text) and may_be_v1(version):
        of_run.append(V0_WORKER)
        for_user.append(
            f"a V0 worker runs it{f' in vLLM {version}' if version else ''}: estimated with the"
            " profile of the versions that have V0 alone"
        )
    if re.search(_ADAPTERS, text):
        slots = _first(text, "max_loras", _ONE_ADAPTER)
        rank = _first(text, "max_lora_rank", _USUAL_RANK)
        of_run.append(f"LoRA enabled, rank {rank}, max_loras = {slots}")
    draft = _draft(text, values.get("model"))
    if draft:
        for_user.append(f"a draft model ({draft}) is loaded beside and not in the estimate")
    return RunNotes(tuple(of_run), tuple(for_user))


def _is_v0(text: str) -> bool:
    """Whether the engine says it is V0; where it does not say which, whether it fell back."""
    named = re.search(_WORKER, text)
    return named.group(1) == "V0" if named else bool(re.search(_FALLEN_BACK, text))


def _first(text: str, key: str, otherwise: str) -> str:
    found = setting(text, key)
    return found if found and found.isdecimal() and int(found) > 0 else otherwise


def _draft(text: str, model: object) -> str | None:
    """The model that drafts, None where there is none or the model's own heads or prompt do."""
    named = [setting(text, "speculative_model")]
    for config in re.findall(_DRAFTING, text):
        named += [setting(config, key) for key in ("draft_model", "model")]
    drafts = [one for one in named if one and one not in _WITHOUT_MODEL and one != model]
    return drafts[0] if drafts else None
