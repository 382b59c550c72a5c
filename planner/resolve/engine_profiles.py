"""Engine profiles as data: what a profile file may say, and how it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final

from planner.documents import check_document, load_document
from planner.errors import InputProblems, Problem, did_you_mean
from planner.resolve.engine_families import BY_MODEL_TYPE, Families, FamilyConstant

Version = tuple[int, ...]
_NO_END: Final = 99999
CONSTANTS: Final[tuple[str, ...]] = (
    "is_pooled",
    "default_memory_fraction",
    "fraction_of_free",
    "fraction_of_rest",
    "counts_context_inside",
    "counts_graphs_inside",
    "counts_activations_outside",
    "block_tokens",
    "vocab_padding_rows",
    "has_fused_linears",
    "keeps_single_experts",
    "carves_weights",
    "generated_share",
    "mxfp4_expert_padding",
    "nf4_double_quantises",
    "graph_capture_limit_tokens",
    "follow_context_limit_tokens",
    "mla_follows_context",
    "moe_chunk_tokens",
    "has_rope_cache",
    "has_absorbed_mla_copy",
    "absorbs_mla_projections",
    "mla_entry_alignment_elements",
    "large_excludes_a100",
    "large_needs_hopper",
    "knows_mla",
    "has_hybrid_cache",
    "ignores_windows",
    "prefill_ignores_windows",
    "caches_query_heads",
    "caches_fused_outputs",
    "tokens_by_groups",
    "splits_layers",
    "split_counts_output",
    "layer_split_share",
    "weights_share",
    "tower_weights_extra_share",
    "mxfp4_experts_extra_share",
    "embedding_on_cpu",
    "hidden_elements_per_token",
    "stage_hidden_copies",
    "mlp_elements_per_token",
    "element_bytes",
    "prefill_share",
    "eager_score_bytes",
    "is_always_eager",
    "attention_pairs_limit",
    "prefill_chunk_tokens",
    "activation_base_bytes",
    "activation_floor_bytes",
    "moe_workspace_share",
    "grouped_expert_inputs",
    "keeps_expert_products",
    "gptq_int4_scratch",
    "unpacks_nf4",
    "int8_load_copies",
    "int8_mlp_elements_per_token",
    "joins_projections",
    "awq_scratch",
    "unpacks_awq_from_tokens",
    "unpacked_mlp_elements_per_token",
    "awq_mlp_elements_per_token",
    "holds_moe_workspace",
    "tower_elements_per_token",
    "tower_base_bytes",
    "profiles_encoder",
    "profiles_requests",
    "multimodal_batched_tokens",
    "encoder_hidden_elements",
    "encoder_share",
    "encoder_kept_share",
    "encoder_lookup_share",
    "logits_of_all_tokens",
    "logits_of_micro_batch",
    "bytes_per_logit",
    "held_bytes_per_logit",
    "large_card_bytes",
    "default_seqs",
    "default_seqs_large",
    "default_batched_tokens",
    "default_batched_tokens_large",
    "batched_tokens_follow_context",
    "context_bytes",
    "non_torch_bytes",
    "communication_bytes",
    "communication_pcie_bytes",
    "graph_base_bytes",
    "graph_layer_bytes",
    "graph_moe_layer_bytes",
    "graph_hidden_bytes",
    "graph_mlp_bytes",
    "graph_expert_bytes",
    "allocator_reserve_share",
    "quantising_base_bytes",
    "quantising_head_copies",
    "awq_loads_untied_head",
    "fp8_unties_head",
    "follows_text_tie",
    "expands_latent",
    "latent_base_bytes",
    "cache_share",
    "default_context_tokens",
    "default_prompt_tokens",
    "reserves_whole_context",
    "decode_cache_copies",
    "cache_holds_new_tokens",
    "state_copies",
    "state_element_bytes",
    "mask_bytes_per_pair",
    "staged_tensors",
    "places_layers_by_count",
    "rope_bytes_per_width",
    "rope_spans_model_context",
    "quantises_head",
    "unties_head",
    "has_prompt_buffer",
)
"""Every constant an engine profile may set. docs/verify.md says what each means."""

DEFAULTS: Final[Mapping[str, float]] = {
    "default_memory_fraction": 1.0,
    "block_tokens": 1.0,
    "vocab_padding_rows": 1.0,
    "knows_mla": 1.0,
    "weights_share": 1.0,
    "cache_share": 1.0,
    "generated_share": 1.0,
    "stage_hidden_copies": 2.0,
    "layer_split_share": 1.0,
    "element_bytes": 2.0,
    "prefill_share": 1.0,
    "default_seqs": 1.0,
    "default_seqs_large": 1.0,
    "large_card_bytes": 0.0,
    "decode_cache_copies": 1.0,
    "state_copies": 1.0,
    "state_element_bytes": 2.0,
}
"""Values of constants that a profile leaves out; 0 for the others."""


@dataclass(frozen=True, slots=True)
class Constant:
    """One constant with its range, in the unit its name ends in."""

    value: float
    low: float
    high: float
    points: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """The constants of one engine over one version range."""

    engine: str
    first: Version
    below: Version
    constants: Mapping[str, Constant]
    released: date | None = None
    inside_fraction: str = ""
    on_top: str = ""
    note: str = ""
    by_model_type: Families = field(default_factory=dict)
    card_tiers: tuple[Mapping[str, float], ...] = ()

    @property
    def versions(self) -> str:
        """The range as text."""
        if self.below[0] >= _NO_END:
            return "of any version"
        return f"from {_dotted(self.first[:-1])} to below {_dotted(self.below[:-1])}"


@dataclass(frozen=True, slots=True)
class Engine:
    """An inference engine with its profiles, oldest first."""

    engine: str
    title: str
    aliases: tuple[str, ...]
    profiles: tuple[Profile, ...]
    families: tuple[FamilyConstant, ...] = ()
    undated: Mapping[str, Constant] = field(default_factory=dict)
    notes: str = ""
    documentation: str = ""


_OTHERS: Final = ("rocm", "cuda", "cu", "torch", "python", "py", "ubuntu")
_NUMBER: Final = r"(?<![\d.#])" + "".join(rf"(?<!{name})" for name in _OTHERS) + r"(\d+(?:\.\d+)+)"


def parse_version(text: str | None) -> Version | None:
    """The first dotted number of a version text, or None: `0.11.0+cu128` is (0, 11, 0).

    Versions of what an image is built on (`rocm6.4_py3.12_vllm_0.10.1`) are passed over.
    """
    found = re.search(_NUMBER, text or "")
    return tuple(int(part) for part in found.group(1).split(".")) if found else None


def _dotted(version: Version) -> str:
    return ".".join(str(part) for part in version)


def engines_folder() -> Path:
    """Where the shipped profiles lie."""
    return Path(__file__).resolve().parents[1] / "catalog" / "data" / "engines"


@cache
def load_engines(folder: Path | None = None) -> dict[str, Engine]:
    """Engines by id from the profile files of a folder (the shipped ones by default).

    Raises:
        InputProblems: a file breaks the schema or names an unknown constant.
    """
    engines = [read_engine(path) for path in sorted((folder or engines_folder()).glob("*.yaml"))]
    return {engine.engine: engine for engine in engines}


def read_engine(path: Path) -> Engine:
    """One profile file. Raises InputProblems with the place of every mistake."""
    document = load_document(path)
    problems = [*document.problems, *check_document(document, "engine"), *_unknown(document)]
    if problems:
        raise InputProblems(problems)
    data: Any = document.data
    common = data.get("common", {})
    return Engine(
        engine=data["engine"],
        title=data["title"],
        aliases=tuple(data.get("aliases", ())),
        profiles=tuple(_profile(data["engine"], entry, common) for entry in data["profiles"]),
        undated={name: _constant(name, entry) for name, entry in data.get("undated", {}).items()},
        families=tuple(_family(entry) for entry in data.get("by_model_type", ())),
        notes=data.get("notes", ""),
        documentation=data.get("documentation", ""),
    )


def _unknown(document: Any) -> list[Problem]:
    data = document.data if isinstance(document.data, dict) else {}
    places: list[tuple[tuple[str | int, ...], Any]] = [
        ((part,), data.get(part) or {}) for part in ("common", "undated")
    ]
    for index, entry in enumerate(data.get("profiles") or []):
        if isinstance(entry, dict):
            places.append((("profiles", index, "constants"), entry.get("constants") or {}))
    return [
        document.problem(
            (*place, name),
            "unknown-constant",
            f"no engine constant is called '{name}'",
            did_you_mean(name, CONSTANTS),
            key=True,
        )
        for place, constants in places
        if isinstance(constants, dict)
        for name in constants
        if name not in CONSTANTS
    ] + [
        document.problem(
            ("by_model_type", index, "constant"),
            "unknown-constant",
            f"'{name}' is no engine constant that may differ by model type",
            did_you_mean(str(name), BY_MODEL_TYPE),
        )
        for index, name in _named_by_type(data)
        if name not in BY_MODEL_TYPE
    ]


def _named_by_type(data: Mapping[str, Any]) -> list[tuple[int, Any]]:
    entries = enumerate(data.get("by_model_type") or [])
    return [
        (index, e["constant"]) for index, e in entries if isinstance(e, dict) and "constant" in e
    ]


def _family(entry: Mapping[str, Any]) -> FamilyConstant:
    return FamilyConstant(
        name=entry["constant"],
        model_types=tuple(entry["model_types"]),
        first=parse_version(f"{entry.get('from', '0')}.0") or (),
        below=parse_version(f"{entry.get('below', _NO_END + 1)}.0") or (),
        constant=_constant(entry["constant"], entry),
    )


def _profile(engine: str, entry: Mapping[str, Any], common: Mapping[str, Any]) -> Profile:
    given = {**common, **entry.get("constants", {})}
    released = entry.get("released")
    return Profile(
        engine=engine,
        first=parse_version(f"{entry['from']}.0") or (),
        below=parse_version(f"{entry['below']}.0") or (),
        constants={name: _constant(name, given.get(name)) for name in CONSTANTS},
        released=date.fromisoformat(str(released)) if released else None,
        inside_fraction=entry.get("inside_fraction", ""),
        on_top=entry.get("on_top", ""),
        note=entry.get("note", ""),
        card_tiers=tuple(entry.get("card_tiers", ())),
    )


def _constant(name: str, entry: Mapping[str, Any] | None) -> Constant:
    if entry is None:
        value = DEFAULTS.get(name, 0.0)
        return Constant(value, value, value)
    value, error = float(entry["value"]), float(entry.get("error", 0.0))
    return Constant(
        value,
        float(entry.get("low", max(value * (1 - error), 0.0))),
        float(entry.get("high", value * (1 + error))),
        int(entry.get("points", 0)),
        str(entry["source"]),
    )
