"""Pictures and films in vLLM's profiling run: sizes from the public code of the families."""

from typing import Any

import polars as pl
import pytest

from planner.catalog.load import load_catalog
from planner.estimate.inference import estimate_inference
from planner.resolve.arch.read import read_config
from planner.resolve.facts import ModelFacts
from tests.inference_tables import GIB, cell, tables

QWEN25, QWEN35 = "Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen3.5-9B"
INTERN, GEMMA = "OpenGVLab/InternVL3-8B-hf", "google/gemma-3-4b-it"
GEMMA4, LLAMA = "google/gemma-4-26B-A4B-it", "meta-llama/Llama-4-Scout-17B-16E-Instruct"
MIB = 1 << 20


@pytest.fixture(scope="module")
def models() -> tuple[ModelFacts, ...]:
    records = load_catalog().models()
    names = (QWEN25, QWEN35, INTERN, GEMMA, GEMMA4, LLAMA)
    return tuple(read_config(records[n]["config"], model=n, source="test") for n in names)


def estimate(models: tuple[ModelFacts, ...], **values: Any) -> dict[str, Any]:
    given = {"engine": "vllm", "engine_version": "0.19.0", "max_num_seqs": 8, **values}
    frame = pl.DataFrame([cell(**given)], infer_schema_length=None).lazy()
    used = [(given["engine"], given["engine_version"])]
    rows = estimate_inference(frame, tables(models, used)).collect(engine="in-memory").to_dicts()
    return rows[0]


def test_the_tower_takes_its_largest_picture_and_the_text_waits(
    models: tuple[ModelFacts, ...],
) -> None:
    row = estimate(models, model=QWEN35, context_tokens=4096, max_num_batched_tokens=2048)
    rows = 16_777_216 // 16**2  # patches of the largest picture of Qwen3-VL's processor
    block = 3.5 * 1152 + 2 * 4304  # what a block holds, and its MLP before and after GELU
    pixels = 3 * 2 * 16 * 16
    assert row["profiled_items"] == 1
    peak = row["activations_bytes"] + row["logits_bytes"]
    assert peak == pytest.approx(rows * (block + pixels) * 2 + row["activation_base_bytes"])
    assert row["logits_bytes"] == 0.0


def test_as_many_pictures_as_the_batch_holds(models: tuple[ModelFacts, ...]) -> None:
    small = estimate(models, model=GEMMA, max_num_batched_tokens=2048, context_tokens=8192)
    large = estimate(models, model=GEMMA, max_num_batched_tokens=8192, context_tokens=8192)
    assert (small["profiled_items"], large["profiled_items"]) == (8, 32)  # of 256 tokens


def test_requests_limit_the_pictures(models: tuple[ModelFacts, ...]) -> None:
    asked = {"model": GEMMA, "max_num_batched_tokens": 8192, "context_tokens": 512}
    one = estimate(models, **asked, max_num_seqs=3, images_per_prompt=1)
    many = estimate(models, **asked, max_num_seqs=3)
    assert (one["profiled_items"], many["profiled_items"]) == (3, 6)  # two fit into the context


@pytest.mark.parametrize(("context", "steps"), [(8192, 1), (40_000, 2), (1 << 20, 7)])
def test_a_longer_context_lets_qwen_profile_a_longer_film(
    models: tuple[ModelFacts, ...], context: int, steps: int
) -> None:
    row = estimate(models, model=QWEN25, context_tokens=context, max_num_batched_tokens=2048)
    assert row["item_tokens"] == steps * 16_384  # two frames a step, at most fourteen frames
    assert row["item_rows"] == steps * 65_536


def test_a_film_of_internvl_leaves_room_for_a_picture(models: tuple[ModelFacts, ...]) -> None:
    row = estimate(models, model=INTERN, context_tokens=32_768, max_num_batched_tokens=2048)
    frames = (32_768 - 13 * 256) // 256  # twelve tiles and the whole picture
    assert row["item_tokens"] == frames * 256
    assert row["item_rows"] == frames * (32 * 32 + 1)


def test_text_alone_profiles_no_pictures(models: tuple[ModelFacts, ...]) -> None:
    asked = {"model": QWEN25, "context_tokens": 32_768, "max_num_batched_tokens": 2048}
    text = estimate(models, **asked, images_per_prompt=0, videos_per_prompt=0)
    pictures = estimate(models, **asked, videos_per_prompt=0)
    films = estimate(models, **asked)
    peaks = [r["activations_bytes"] + r["logits_bytes"] for r in (text, pictures, films)]
    assert text["profiled_items"] == 0
    assert peaks[0] < 0.4 * GIB < 1.5 * GIB < peaks[1] < 2.2 * GIB < peaks[2]


def test_outputs_and_pixels_stay_beside_the_text(models: tuple[ModelFacts, ...]) -> None:
    asked = {"model": LLAMA, "context_tokens": 8192, "max_num_batched_tokens": 8192}
    asked |= {"max_num_seqs": 1024, "tensor_parallel_size": 4, "gpu_count": 4}
    both = estimate(models, **asked)
    text = estimate(models, **asked, images_per_prompt=0, videos_per_prompt=0)
    tiles = 17 * 3  # three pictures in a batch of 8192
    kept = tiles * (144 * 5120 + 577 * 588) * 2
    assert both["profiled_items"] == 3
    assert both["activations_bytes"] - text["activations_bytes"] == pytest.approx(kept)


def test_gemma_4_looks_positions_up_by_one_hot_rows(models: tuple[ModelFacts, ...]) -> None:
    asked = {"model": GEMMA4, "context_tokens": 8192, "max_num_batched_tokens": 2048}
    asked |= {"card_gib": 40.0}
    alone = estimate(models, **asked, engine_version="0.20.0")
    chunks = estimate(models, **asked, engine_version="0.24.0")
    row = 2 * 10_240 * (8 + 2)  # two tables of positions, 64-bit and cast
    inputs = 20_160 * 768 * 2  # one film of 32 frames
    base = alone["activation_base_bytes"]
    assert alone["activations_bytes"] == pytest.approx(2520 * row + inputs + base)
    limit = 0.1 * chunks["usable_bytes"] / 1.6  # a tenth of the card, counted generously
    assert limit < 20_160 * row
    assert chunks["activations_bytes"] == pytest.approx(limit + inputs + base)


def test_v0_runs_whole_requests_and_no_picture_where_none_fits(
    models: tuple[ModelFacts, ...],
) -> None:
    asked = {"engine_version": "0.7.3", "max_num_seqs": 256, "context_tokens": 4096}
    none = estimate(models, model=QWEN25, **asked)
    some = estimate(models, model=GEMMA, **asked)
    assert none["batched_tokens"] == 5120  # the least for models with pictures
    assert (none["profiled_items"], none["logit_rows"]) == (0, 1)
    assert (some["profiled_items"], some["logit_rows"]) == (20, 20)  # 5120 // 256


def test_sglang_and_text_models_are_not_concerned(models: tuple[ModelFacts, ...]) -> None:
    row = estimate(models, model=GEMMA, engine="sglang", engine_version="0.5.5")
    assert row["profiled_items"] == 0


@pytest.mark.parametrize("context", [8192, 20_480, 32_768])
def test_the_longest_context_is_the_same_from_every_context(
    models: tuple[ModelFacts, ...], context: int
) -> None:
    """Growing films shrink the pool, and the solve knows it."""
    asked = {"model": INTERN, "max_num_batched_tokens": 2048, "max_num_seqs": 256}
    asked |= {"card_gib": 23.5}
    longest = estimate(models, **asked, context_tokens=context, concurrent_sequences=4)
    found = int(longest["max_context_tokens"])
    at = estimate(models, **asked, context_tokens=found, concurrent_sequences=4)
    above = estimate(models, **asked, context_tokens=found + 512, concurrent_sequences=4)
    assert 3328 < found < 32_768
    assert at["max_concurrent_sequences"] >= 4 > above["max_concurrent_sequences"]
