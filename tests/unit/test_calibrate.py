"""Fitting engine profiles: what runs show of a constant, and what a written profile keeps."""

from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from planner.calibrate import Calibration, Fitted, calibrate
from planner.catalog.load import load_catalog
from planner.resolve.engines import (
    Engine,
    engines_frame,
    find_engine,
    load_engines,
    profile_of,
    read_engine,
)
from planner.verify.columns import INFERENCE_COLUMNS
from planner.verify.inference import inference_estimates, measured_frame
from planner.verify.profile_file import profile_text
from planner.verify.read import with_columns_of
from tests.inference_tables import facts, tables

VLLM = find_engine("vllm")
PRINTED = ("weights_gib", "activation_peak_gib", "non_torch_gib", "cuda_graph_gib")
ONE_CARD = [("h100-sxm-80gb", 1)]
SEVERAL = [("h100-sxm-80gb", 2), ("rtx-4090-24gb", 2)]
SEQUENCES = (8192, 6144, 5120, 16, 8)


def first_of(engine: Engine) -> list[str]:
    return [".".join(str(part) for part in one.first[:-1]) for one in engine.profiles]


def every_version() -> Iterator[tuple[str, str | None]]:
    """Each profile of each engine, and versions for which none was made."""
    for name, engine in load_engines().items():
        yield from ((name, version) for version in first_of(engine))
        yield from ((name, other) for other in (None, "nightly", "9999.1", "2025-09-01"))


def written(path: Path, name: str, version: str | None, *fitted: Fitted) -> Engine:
    engine = find_engine(name)
    result = Calibration(name, version or "", fitted, {})
    file = path / "mine.yaml"
    file.write_text(profile_text(engine, profile_of(engine, version), result, "runs"), "utf-8")
    return read_engine(file)


@pytest.mark.parametrize(("name", "version"), list(every_version()))
def test_a_profile_with_nothing_fitted_reads_as_the_one_it_came_from(
    name: str, version: str | None, tmp_path: Path
) -> None:
    before = profile_of(find_engine(name), version)
    own = written(tmp_path, name, version)
    after = own.profiles[-1]
    assert after.constants == before.constants
    assert after.card_tiers == before.card_tiers
    assert profile_of(own, version).by_model_type == before.by_model_type
    assert own.aliases == find_engine(name).aliases
    if after.first <= before.first < after.below:
        told = [
            engines_frame([(name, version)], engines).drop("engine_profile", "engine_note")
            for engines in (None, {name: own})
        ]
        assert told[0].equals(told[1])


def test_a_written_profile_sends_the_same_runs_to_the_older_worker(tmp_path: Path) -> None:
    own = written(tmp_path, "vllm", "0.8.2")
    shipped = engines_frame([("vllm", "0.8.2")])
    found = engines_frame([("vllm", "0.8.2")], {"vllm": own})
    assert found["worker"].to_list() == ["", "older"]
    assert found["fallback_reasons"].to_list() == shipped["fallback_reasons"].to_list()
    assert found["engine_note"][1] == "a V0 worker runs it in this version"
    assert written(tmp_path, "vllm", "0.19").fallback is None


def test_a_fitted_constant_takes_its_range_from_the_runs(tmp_path: Path) -> None:
    one = Fitted("activation_floor_bytes", 2e9 / 3, 0.25, 7, 0.0)
    after = written(tmp_path, "vllm", "0.24", one).profiles[-1].constants
    found = after["activation_floor_bytes"]
    assert found.value == pytest.approx(2e9 / 3)
    assert (found.low / found.value, found.high / found.value) == pytest.approx((0.75, 1.25))
    assert (found.points, found.source) == (7, "runs")


# --- fitting ---------------------------------------------------------------------------------


def run(version: str, model: str, gpu: str, tp: int, seqs: int, **others: str) -> dict[str, str]:
    return {
        "engine": "vllm",
        "engine_version": version,
        "model": model,
        "weight_format": "bf16",
        "gpu": gpu,
        "tensor_parallel_size": str(tp),
        "max_model_len": "8192",
        "max_num_seqs": str(seqs),
        "max_num_batched_tokens": "8192",
        **dict.fromkeys((*PRINTED, "kv_cache_gib"), "1"),
        **others,
    }


def as_estimated(runs: list[dict[str, str]]) -> pl.DataFrame:
    """The frame of runs that printed exactly what `verify` estimates for them."""
    columns = list(dict.fromkeys(key for one in runs for key in one))
    rows = pl.DataFrame(
        [{"id": str(i), **one} for i, one in enumerate(runs)],
        schema=dict.fromkeys(["id", *columns], pl.String),
    )
    rows = with_columns_of(rows, INFERENCE_COLUMNS)
    qwen3 = facts("qwen-1.5b", model_type="qwen3")
    known = [facts("llama-8b"), facts("mixtral"), qwen3]
    used = rows.select("engine", "engine_version").unique().iter_rows()
    catalog, found = load_catalog(), tables(known, used)  # type: ignore[arg-type]
    expected = (
        inference_estimates(rows, found, catalog)
        .filter(pl.col("component").is_in(PRINTED))
        .pivot("component", index="id", values="expected")
        .with_columns(pl.col(PRINTED).map_elements(repr, return_dtype=pl.String))
    )
    printed = rows.drop(PRINTED).join(expected, on="id", how="left", maintain_order="left")
    return measured_frame(printed, found, catalog)


@cache
def every_profile() -> pl.DataFrame:
    layouts = [*product(ONE_CARD, SEQUENCES), *product(SEVERAL, (8192, 4096, 64, 16, 8))]
    return as_estimated(
        [
            run(version, model, gpu, tp, seqs)
            for version in first_of(VLLM)
            for model in ("llama-8b", "mixtral", "qwen-1.5b")
            for (gpu, tp), seqs in layouts
        ]
    )


def fit(frame: pl.DataFrame, version: str) -> Calibration:
    return calibrate(frame, "vllm", version, profile_of(VLLM, version).by_model_type)


@pytest.mark.parametrize("version", first_of(VLLM))
def test_figures_as_estimated_give_the_constants_of_the_profile_back(version: str) -> None:
    constants = profile_of(VLLM, version).constants
    result = fit(every_profile().filter(pl.col("engine_version") == version), version)
    fitted = {one.name: one.value for one in result.fitted}
    assert fitted == {name: pytest.approx(constants[name].value, rel=1e-6) for name in fitted}
    assert max(one.error for one in result.fitted) < 1e-5
    shown = {"weights_share", "non_torch_bytes", "communication_bytes", "communication_pcie_bytes"}
    assert shown <= set(fitted)
    assert ("graph_base_bytes" in fitted) == (constants["graph_base_bytes"].value > 0)
    assert {"bytes_per_logit", "v2_bytes_per_logit"} & set(fitted)
    if constants["v2_runner"].value > 0:
        assert "v2_bytes_per_logit" in fitted


def measured(version: str, model: str, **shifts: pl.Expr) -> pl.DataFrame:
    """Six runs on one card as estimated, with measured columns replaced."""
    runs = [run(version, model, "h100-sxm-80gb", 1, n) for n in (8192, 8000, 7680, 16, 8, 4)]
    return as_estimated(runs).with_columns(**shifts)


def values(result: Calibration) -> dict[str, float]:
    return {one.name: one.value for one in result.fitted}


def logits_of(each: float) -> pl.Expr:
    """The peak of runs whose logits take so many bytes each."""
    return pl.col("activations_bytes") + each * pl.col("logit_rows") * pl.col("vocab_size")


def test_logits_of_the_second_runner_are_told_from_those_of_the_first() -> None:
    seqs = (8192, 8000, 7680, 7424, 7168)
    runs = [run("0.24", m, "h100-sxm-80gb", 1, n) for m in ("llama-8b", "mixtral") for n in seqs]
    second = pl.col("is_second_runner")
    peak = pl.when(second).then(logits_of(10.0)).otherwise(logits_of(20.0))
    frame = as_estimated(runs)
    assert frame["is_second_runner"].sum() == 5
    found = values(fit(frame.with_columns(measured_activation_peak_bytes=peak), "0.24"))
    assert found["v2_bytes_per_logit"] == pytest.approx(10.0)
    assert found["bytes_per_logit"] == pytest.approx(20.0)


def test_a_peak_that_compiling_may_have_made_says_nothing_of_logits() -> None:
    runs = [run("0.19", "llama-8b", "h100-sxm-80gb", 1, n) for n in (300, 288, 272, 264, 256)]
    short = [one | {"max_num_batched_tokens": "512"} for one in runs]
    frame = as_estimated(short)
    assert (frame["logits_bytes"] > 0).all()
    cold = frame.with_columns(measured_activation_peak_bytes=pl.lit(1.2e9))
    for runs_seen in (frame, cold):
        assert fit(runs_seen, "0.19").unchanged["bytes_per_logit"].startswith("too few runs (0,")
    above = frame.with_columns(measured_activation_peak_bytes=logits_of(60.0))
    assert values(fit(above, "0.19"))["bytes_per_logit"] == pytest.approx(60.0)


def test_the_context_inside_a_printed_figure_is_no_part_of_the_libraries() -> None:
    frame = measured("0.8.5", "llama-8b")
    assert (frame["counts_context_inside"] == 1).all()
    more = frame.with_columns(pl.col("measured_non_torch_bytes") + 1e8)
    before = profile_of(VLLM, "0.8.5").constants["non_torch_bytes"].value
    assert values(fit(more, "0.8.5"))["non_torch_bytes"] == pytest.approx(before + 1e8)


def test_what_ranks_add_counts_from_the_libraries_that_were_fitted() -> None:
    layouts = [("h100-sxm-80gb", tp, n) for tp in (1, 2) for n in (512, 256, 128, 64, 32)]
    frame = as_estimated([run("0.19", "llama-8b", *layout) for layout in layouts])
    more = frame.with_columns(pl.col("measured_non_torch_bytes") + 1e8)
    constants, found = profile_of(VLLM, "0.19").constants, values(fit(more, "0.19"))
    assert found["non_torch_bytes"] == pytest.approx(constants["non_torch_bytes"].value + 1e8)
    assert found["communication_bytes"] == pytest.approx(constants["communication_bytes"].value)


def test_graphs_of_few_batch_sizes_are_scaled_to_all_of_them() -> None:
    runs = [run("0.19", "llama-8b", "h100-sxm-80gb", 1, n) for n in (4, 8, 12, 16, 24)]
    frame = as_estimated(runs)
    shares = frame["measured_cuda_graph_bytes"] / frame["measured_cuda_graph_bytes"].max()
    assert shares.to_list()[0] < 0.6
    doubled = frame.with_columns(pl.col("measured_cuda_graph_bytes") * 2)
    full = as_estimated([run("0.19", "llama-8b", "h100-sxm-80gb", 1, 1024)])
    whole = full["measured_cuda_graph_bytes"][0]
    base = profile_of(VLLM, "0.19").constants["graph_base_bytes"].value
    found = values(fit(doubled, "0.19"))["graph_base_bytes"]
    assert found == pytest.approx(base + whole, rel=1e-6)


def test_runs_of_an_older_worker_are_left_out_and_counted() -> None:
    runs = [run("0.8.5", "llama-8b", "h100-sxm-80gb", 1, n) for n in (512, 256, 128, 64, 32)]
    old = [run("0.8.5", "llama-8b", "t4-16gb", 1, n) for n in (512, 256, 128, 64, 32, 16)]
    frame = as_estimated([*runs, *old])
    shifted = pl.col("measured_weights_bytes") * pl.when(pl.col("worker") == "").then(1).otherwise(
        3
    )
    result = fit(frame.with_columns(measured_weights_bytes=shifted), "0.8.5")
    assert result.left_out == 6
    (weights,) = (one for one in result.fitted if one.name == "weights_share")
    assert weights.points == 5
    assert weights.value == pytest.approx(1.0)


def test_adapters_and_pipeline_stages_are_no_part_of_the_share_of_weights() -> None:
    lora: dict[str, Any] = {"notes": "LoRA enabled, rank 64 max_loras = 8"}
    runs = [run("0.19", "llama-8b", "h100-sxm-80gb", 1, n, **lora) for n in (512, 256, 128)]
    staged = {"pipeline_parallel_size": "2"}
    runs += [run("0.19", "llama-8b", "h100-sxm-80gb", 1, n, **staged) for n in (512, 256, 128)]
    (weights,) = (one for one in fit(as_estimated(runs), "0.19").fitted if "weights" in one.name)
    assert (weights.value, weights.error) == (pytest.approx(1.0), pytest.approx(0.0, abs=1e-6))


def test_runs_that_show_less_than_nothing_leave_a_constant_as_it_was() -> None:
    frame = measured("0.19", "llama-8b", measured_non_torch_bytes=pl.lit(-1e6))
    assert "non_torch_bytes" not in values(fit(frame, "0.19"))
    assert fit(frame, "0.19").unchanged["non_torch_bytes"] == "the median of 6 runs is -1e+06"
