"""Fit the constants of an engine profile to measured runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from planner.estimate.inference.phases import PREFILL, SERVING
from planner.estimate.inference.working import graph_size_share
from planner.resolve.engine_families import Families
from planner.resolve.engines import OLDER_WORKER

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
class Calibration:
    """Constants that were fitted, and why others were not (name -> reason).

    `left_out` counts the runs of an older worker, whose constants are those of another profile.
    """

    engine: str
    version: str
    fitted: tuple[Fitted, ...]
    unchanged: Mapping[str, str]
    left_out: int = 0


def calibrate(
    estimated: pl.DataFrame, engine: str, version: str, families: Families | None = None
) -> Calibration:
    """Fit what can be fitted from runs of one engine and version.

    `estimated` is the estimator's frame with the measured columns of the runs beside it
    (`weights_gib`, `activation_peak_gib`, `non_torch_gib`, `cuda_graph_gib`, as bytes here with
    `measured_<name>_bytes`); `families` are the constants that model types have of their own. Runs
    of an older worker are left out. Each constant is a median over the runs that show it alone, so
    few outliers do not move it. What else a printed figure holds is taken off as `verify` counts
    it, so that the estimator's own figures give its own constants back:

    - `weights_share`: measured weights over the rank's;
    - `bytes_per_logit`, of the second model runner `v2_bytes_per_logit`: activation peak less what
      is not logits, over rows x vocabulary, of runs whose peak is the sampler's;
    - `non_torch_bytes`: of runs without tensor parallelism, less the CUDA context where the figure
      includes it; `communication_bytes` and `communication_pcie_bytes`: what tensor parallelism
      adds to it, by the kind of link;
    - `graph_base_bytes`: graph memory less what grows with the layers, for all batch sizes.
    """
    older = pl.col("worker").fill_null("") == OLDER_WORKER
    runs = estimated.filter(~older)
    fitted: list[Fitted] = []
    unchanged: dict[str, str] = {}
    configuration = [name for name in _CONFIGURATION if name in runs.columns]
    for name, shown, value in _observations(families or {}):
        samples = (
            runs.filter(shown)
            .select(value.alias("x"), before=pl.col(name), configuration=pl.struct(configuration))
            .filter(pl.col("x").is_finite())
            .drop_nulls(["x", "before"])
        )
        few = _too_few(samples.height, samples["configuration"].n_unique())
        middle = float(samples["x"].median() or 0.0)  # type: ignore[arg-type]
        if few or middle <= 0:
            unchanged[name] = few or f"the median of {samples.height} runs is {middle:.3g}"
            continue
        spread = (samples["x"] / middle - 1).abs().quantile(_KEPT_SHARE, "linear") or 0.0
        before = float(samples["before"][0])
        fitted.append(Fitted(name, middle, float(spread), samples.height, before))
        # What is fitted later stands beside this constant in the same profile.
        runs = runs.with_columns(pl.lit(middle).alias(name))
    left_out = estimated.height - runs.height
    return Calibration(engine, version, tuple(fitted), unchanged, left_out)


def _too_few(points: int, configurations: int) -> str:
    """Why so many runs of so many configurations fit no constant; empty where they do."""
    if points < MIN_POINTS:
        return f"too few runs ({points}, needs {MIN_POINTS})"
    if configurations < MIN_CONFIGURATIONS:
        return (
            f"too few distinct configurations ({configurations} in {points} runs,"
            f" needs {MIN_CONFIGURATIONS})"
        )
    return ""


def _observations(families: Families) -> Iterable[tuple[str, pl.Expr, pl.Expr]]:
    """Each constant that can be fitted: which runs show it, and what one run says of it."""
    host = pl.col("has_host_weights").fill_null(False)
    yield "weights_share", ~host, _weights_share()
    second = pl.col("is_second_runner").fill_null(False)
    own = pl.col("model_type").fill_null("").is_in(_with_own("bytes_per_logit", families))
    yield "bytes_per_logit", _shows_logits() & ~second & ~own, _bytes_per_logit()
    yield "v2_bytes_per_logit", _shows_logits() & second, _bytes_per_logit()
    inside = pl.col("cuda_context_bytes") * pl.col("counts_context_inside")
    library = pl.col("measured_non_torch_bytes") - inside
    several, fast = pl.col("tensor_parallel_size") > 1, pl.col("has_fast_link")
    yield "non_torch_bytes", ~several, library
    yield "communication_bytes", several & fast, library - pl.col("non_torch_bytes")
    yield "communication_pcie_bytes", several & ~fast, library - pl.col("non_torch_bytes")
    captures = ~pl.col("enforce_eager").fill_null(False) & (pl.col("measured_cuda_graph_bytes") > 0)
    more = pl.col("measured_cuda_graph_bytes") - pl.col("cuda_graphs_bytes")
    yield "graph_base_bytes", captures, more / graph_size_share() + pl.col("graph_base_bytes")


def _with_own(name: str, families: Families) -> list[str]:
    """Model types that do not read the profile's constant of that name."""
    return [model_type for model_type, constants in families.items() if name in constants]


def _weights_share() -> pl.Expr:
    """Measured weights of the first pipeline rank, less what is beside its tensors, over them."""
    tensors = pl.col("rank_weights_bytes")
    behind = tensors - pl.col("first_rank_weights_bytes")
    beside = pl.col("weights_bytes") - tensors * pl.col("weights_share")
    adapter = pl.col("adapter_bytes").fill_null(0.0)
    return (pl.col("measured_weights_bytes") + behind - beside - adapter) / tensors


def _shows_logits() -> pl.Expr:
    """Whether the measured peak of a run is surely that of its logits.

    They are the estimated peak, and what was measured is above the upper bound of every other one:
    layers, loading, compiling while profiling (`activation_floor_bytes`), encoders.
    """
    binds = (pl.col("logits_bytes") > 0) & pl.col("peak_phase").is_in([SERVING, PREFILL])
    others = pl.max_horizontal("forward_peak_high", "pictures_peak_high")
    above = pl.col("measured_activation_peak_bytes") > others
    return binds & above & (pl.col("pipeline_parallel_size") == 1)


def _bytes_per_logit() -> pl.Expr:
    """Bytes of a logit as the constants count them: of a model that computes in 16 bits."""
    logits = pl.col("measured_activation_peak_bytes") - pl.col("activations_bytes")
    wider = pl.col("activation_element_bytes") - pl.col("element_bytes")
    return logits / (pl.col("logit_rows") * pl.col("vocab_size")) - wider
