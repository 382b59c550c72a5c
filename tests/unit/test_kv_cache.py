"""KV cache facts by hand, and the inverse of the concave sum."""

from typing import Any

import polars as pl
import pytest

from planner.estimate.kv_cache import (
    cache_by_rank,
    element_bytes,
    longest_sequence,
    sequence_tokens_bytes,
)
from tests.inference_tables import facts, tables


def cache(
    name: str, tp: int = 1, pp: int = 1, split: str = "even", **config: Any
) -> dict[str, Any]:
    model = facts(name, **config)
    wanted = {
        "model": model.model,
        "tensor_parallel_size": tp,
        "pipeline_parallel_size": pp,
        "layer_split": split,
    }
    return (
        cache_by_rank(tables([model]), pl.LazyFrame([wanted]))
        .collect(engine="in-memory")
        .to_dicts()[0]
    )


def test_plain_attention_caches_keys_and_values_of_every_head() -> None:
    row = cache("llama-8b")
    assert row["global_elements"] == 2 * 32 * 8 * 128
    assert row["local_elements"] == 0
    assert row["global_layers"] == 32


def test_heads_are_cut_by_ranks_but_one_stays() -> None:
    assert cache("llama-8b", tp=8)["global_elements"] == 2 * 32 * 128
    assert cache("llama-8b", tp=16)["global_elements"] == 2 * 32 * 128


def test_the_mla_latent_is_the_same_on_every_rank() -> None:
    alone, cut = cache("deepseek-lite"), cache("deepseek-lite", tp=8)
    assert alone["global_elements"] == cut["global_elements"] == 27 * (512 + 64)
    assert alone["expanded_elements"] == 27 * 16 * (192 + 128)
    assert cut["expanded_elements"] == alone["expanded_elements"] / 8


def test_sliding_layers_are_counted_apart() -> None:
    row = cache("gemma-2b")
    per_layer = 2 * 4 * 256
    assert row["global_elements"] == row["local_elements"] == 13 * per_layer
    assert row["local_window_tokens"] == 4096
    assert row["largest_layer_elements"] == per_layer


def test_a_pipeline_stage_caches_its_own_layers() -> None:
    assert cache("llama-8b", pp=4)["global_layers"] == 8
    row = cache("deepseek-lite", pp=2, split="with-output")
    assert row["first_global_elements"] == 14 * 576  # 28 with the output: 14 and 13


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("bf16", 2), ("fp8", 1), ("fp32", 4), ("q8_0", 34 / 32), ("auto", 2), (None, 2)],
)
def test_bytes_of_an_element(dtype: str | None, size: float) -> None:
    frame = pl.DataFrame({"d": [dtype]}, schema={"d": pl.String})
    assert frame.select(element_bytes(pl.col("d"), pl.lit(2.0))).item() == size


def test_an_unknown_cache_type_has_no_size() -> None:
    frame = pl.DataFrame({"d": ["int3"]})
    assert frame.select(element_bytes(pl.col("d"), pl.lit(2.0))).item() is None


def solve(room: float, full: float, local: float, window: float | None) -> tuple[float, float]:
    frame = pl.DataFrame(
        {"room": [room], "full": [full], "local": [local], "window": [window]},
        schema=dict.fromkeys(("room", "full", "local", "window"), pl.Float64),
    )
    columns = (pl.col("full"), pl.col("local"), pl.col("window"))
    tokens = frame.select(longest_sequence(pl.col("room"), *columns)).item()
    used = frame.select(sequence_tokens_bytes(pl.lit(tokens), *columns)).item()
    return tokens, used


@pytest.mark.parametrize("room", [0.0, 10.0, 999.0, 3000.0, 1e6])
def test_the_longest_sequence_fills_the_room(room: float) -> None:
    tokens, used = solve(room, 2.0, 3.0, 200.0)
    assert used == pytest.approx(room)
    assert tokens == pytest.approx(room / 5 if room <= 1000 else (room - 600) / 2)


def test_windows_alone_never_fill_the_room() -> None:
    tokens, _ = solve(1e9, 0.0, 3.0, 200.0)
    assert tokens == float("inf")
    assert solve(300.0, 0.0, 3.0, 200.0)[0] == 100
