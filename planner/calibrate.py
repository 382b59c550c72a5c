"""Fit the constants of an engine profile to measured runs, and write them as a profile file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from planner.resolve.engines import CONSTANTS, Constant, Engine, Profile

MIN_POINTS: Final = 5
"""Fewer runs than this leave a constant as it was."""
MIN_CONFIGURATIONS: Final = 3
"""So do runs of fewer configurations than this: repeats of one show its noise, not the rest."""
_CONFIGURATION: Final = (
    "model",
    "weight_format",
    "gpu",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "context_tokens",
    "max_num_seqs",
    "max_num_batched_tokens",
    "kv_cache_dtype",
    "enforce_eager",
    "concurrent_sequences",
    "input_tokens",
    "output_tokens",
)
"""Columns by which two runs are of different configurations."""

_KEPT_SHARE: Final = 0.9


@dataclass(frozen=True, slots=True)
class Fitted:
    """One fitted constant: value, relative half width that holds 90 % of the runs, and runs."""

    name: str
    value: float
    error: float
    points: int
    before: float


@dataclass(frozen=True, slots=True)
class TooFew:
    """Runs that show a constant, and of how many configurations they are."""

    points: int
    configurations: int

    def __str__(self) -> str:
        if self.points < MIN_POINTS:
            return f"too few runs ({self.points}, needs {MIN_POINTS})"
        return (
            f"too few distinct configurations ({self.configurations} in {self.points} runs,"
            f" needs {MIN_CONFIGURATIONS})"
        )


@dataclass(frozen=True, slots=True)
class Calibration:
    """Constants that were fitted, and those with too few runs (name -> what there were)."""

    engine: str
    version: str
    fitted: tuple[Fitted, ...]
    too_few: Mapping[str, TooFew]


def calibrate(estimated: pl.DataFrame, engine: str, version: str) -> Calibration:
    """Fit what can be fitted from runs of one engine and version.

    `estimated` is the estimator's frame with the measured columns of the runs beside it
    (`weights_gib`, `activation_peak_gib`, `non_torch_gib`, `cuda_graph_gib`, as bytes here with
    `measured_<name>_bytes`). Each constant is a median over the runs that show it alone, so few
    outliers do not move it:

    - `weights_share`: measured weights over the rank's;
    - `bytes_per_logit`: activation peak less what is not logits, over rows x vocabulary, of runs
      whose peak is the sampler's;
    - `non_torch_bytes`: of runs on one GPU; `communication_bytes`: what more GPUs add to it;
    - `graph_base_bytes`: graph memory less what grows with the layers.
    """
    fitted: list[Fitted] = []
    too_few: dict[str, TooFew] = {}
    configuration = [name for name in _CONFIGURATION if name in estimated.columns]
    for name, frame, value in _observations(estimated):
        samples = (
            frame.select(
                value.alias("x"), before=pl.col(name), configuration=pl.struct(configuration)
            )
            .filter(pl.col("x").is_finite() & (pl.col("x") > 0))
            .drop_nulls(["x", "before"])
        )
        distinct = samples["configuration"].n_unique()
        if samples.height < MIN_POINTS or distinct < MIN_CONFIGURATIONS:
            too_few[name] = TooFew(samples.height, distinct)
            continue
        middle = float(samples["x"].median() or 0.0)  # type: ignore[arg-type]
        spread = (samples["x"] / middle - 1).abs().quantile(_KEPT_SHARE, "linear") or 0.0
        before = float(samples["before"][0])
        fitted.append(Fitted(name, middle, float(spread), samples.height, before))
    return Calibration(engine, version, tuple(fitted), too_few)


def _observations(estimated: pl.DataFrame) -> Sequence[tuple[str, pl.DataFrame, pl.Expr]]:
    alone = estimated.filter(pl.col("tensor_parallel_size") == 1)
    several = estimated.filter(pl.col("tensor_parallel_size") > 1)
    sampled = estimated.filter(pl.col("logits_bytes") > 0)
    graphs = estimated.filter(~pl.col("enforce_eager").fill_null(False))
    peak = pl.col("measured_activation_peak_bytes") - pl.col("activations_bytes")
    own = pl.col("measured_weights_bytes") - (
        pl.col("weights_bytes") - pl.col("rank_weights_bytes") * pl.col("weights_share")
    )
    graph = pl.col("measured_cuda_graph_bytes") - pl.col("cuda_graphs_bytes")
    return (
        ("weights_share", estimated, own / pl.col("rank_weights_bytes")),
        ("bytes_per_logit", sampled, peak / (pl.col("logit_rows") * pl.col("vocab_size"))),
        ("non_torch_bytes", alone, pl.col("measured_non_torch_bytes")),
        (
            "communication_bytes",
            several,
            pl.col("measured_non_torch_bytes") - pl.col("non_torch_bytes"),
        ),
        ("graph_base_bytes", graphs, graph + pl.col("graph_base_bytes")),
    )


def profile_text(engine: Engine, profile: Profile, result: Calibration, source: str) -> str:
    """A profile file (YAML) for one version: the fitted constants, the others as they were."""
    first, below = _range(result.version, profile)
    fitted = {constant.name: constant for constant in result.fitted}
    lines = [
        f"# Constants of {engine.title} {result.version}, fitted to measured runs.",
        f"engine: {engine.engine}",
        f"title: {engine.title}",
        "profiles:",
        f'  - from: "{first}"',
        f'    below: "{below}"',
        f'    inside_fraction: "{profile.inside_fraction}"',
        f'    on_top: "{profile.on_top}"',
        "    constants:",
    ]
    for name in CONSTANTS:
        if name in fitted:
            one = fitted[name]
            lines.append(_line(name, one.value, one.error, one.points, source))
        elif profile.constants[name].source:
            old = profile.constants[name]
            lines.append(_line(name, old.value, _error(old), old.points, old.source))
    return "\n".join([*lines, *_tiers(profile), *_families(profile)]) + "\n"


def _tiers(profile: Profile) -> list[str]:
    if not profile.card_tiers:
        return []
    entries = (", ".join(f"{key}: {n:g}" for key, n in tier.items()) for tier in profile.card_tiers)
    return ["    card_tiers:", *(f"      - {{{entry}}}" for entry in entries)]


def _families(profile: Profile) -> list[str]:
    """What model types have of their own at the version, without a range of versions."""
    entries = [
        f"  - {{constant: {name}, value: {own.value:g}, low: {own.low:g}, high: {own.high:g},"
        f" model_types: [{model_type}], source: {json.dumps(own.source)}}}"
        for model_type, constants in profile.by_model_type.items()
        for name, own in constants.items()
    ]
    return ["by_model_type:", *entries] if entries else []


def _range(version: str, profile: Profile) -> tuple[str, str]:
    """The version's own minor range, or the whole range of the profile it started from."""
    from planner.resolve.engines import parse_version

    parsed = parse_version(version)
    if parsed is None or len(parsed) < 2:
        first, below = (".".join(str(n) for n in edge) for edge in (profile.first, profile.below))
        return first, below
    return f"{parsed[0]}.{parsed[1]}", f"{parsed[0]}.{parsed[1] + 1}"


def _error(constant: Constant) -> float:
    return (constant.high / constant.value - 1) if constant.value else 0.0


def _line(name: str, value: float, error: float, points: int, source: str) -> str:
    quoted = source.replace("\\", "\\\\").replace('"', '\\"')
    return (
        f"      {name}: {{value: {value:.6g}, error: {max(error, 0.0):.3g}, points: {points},"
        f' source: "{quoted}"}}'
    )
