"""Inputs of measured runs out of notes, names and ranks."""

import json
from pathlib import Path
from typing import Any

import pytest

from planner.verify.formats import measured_format
from planner.verify.run import verify_file
from tests.inference_tables import LLAMA_8B
from tests.unit.test_verify import HEADER, run_line


def estimates(tmp_path: Path, *lines: str) -> dict[tuple[str, str], dict[str, Any]]:
    (tmp_path / "acme--llama-8b.json").write_text(json.dumps(LLAMA_8B))
    path = tmp_path / "runs.csv"
    path.write_text(HEADER + "".join(lines))
    rows = verify_file(path, models=tmp_path).rows
    return {(row["id"], row["component"]): row for row in rows.to_dicts()}


def test_the_notes_name_a_card_that_has_no_id(tmp_path: Path) -> None:
    unknown = {"gpu": "", "total_gpu_memory_gib": ""}
    found = estimates(
        tmp_path,
        run_line("named", **unknown, notes="card: DGX Spark; printed by the log"),
        run_line("class", **unknown, notes="card: some 24 GB card"),
    )
    assert found["named", "kv_cache_gib"]["card_gib"] == pytest.approx(121.69)
    assert "memory of the card is not known" in found["class", "kv_cache_gib"]["reason"]


def test_free_memory_in_the_notes_stands_for_the_card(tmp_path: Path) -> None:
    found = estimates(
        tmp_path,
        run_line("free", gpu="", total_gpu_memory_gib="", notes="card: 80GB card (78.81 GB free)"),
    )
    assert found["free", "kv_cache_gib"]["card_gib"] == pytest.approx(79.32)


def test_a_pipeline_run_may_show_any_rank(tmp_path: Path) -> None:
    found = estimates(tmp_path, run_line("pp", pipeline_parallel_size="4", gpu_count="4"))
    weights, pool = found["pp", "weights_gib"], found["pp", "kv_cache_gib"]
    layer = 2 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096) / 2**30
    embedding = 2 * 128256 * 4096 / 2**30
    assert weights["expected"] == pytest.approx(8 * layer + embedding, rel=0.01)
    assert weights["high"] >= weights["expected"]
    assert pool["low"] < pool["expected"]


def test_sizes_of_a_mix_that_the_catalog_lacks_take_the_next_smaller() -> None:
    known = {"q4_k_m": "q4_k_m", "q2_k": "q2_k", "q8_0": "q8_0", "iq3_ks": "iq3_ks", "fp8": "fp8"}

    def read(name: str) -> str:
        return measured_format(name, (), {}, known.get)

    assert read("gguf-ud-q4_k_xl") == "q4_k_m"
    assert read("gguf-q2_k_s") == "q2_k"
    assert read("gguf-q8_k_xl") == "q8_0"
    assert read("gguf-iq3_ks_r4") == "iq3_ks"
    assert read("fp8-static") == "fp8"
    assert read("gguf-q5_k_xl") == "gguf-q5_k_xl"


def test_a_group_size_that_was_not_printed_may_be_none_at_all(tmp_path: Path) -> None:
    """0.156 bits a weight less than with groups of 128; the expected size is theirs."""
    found = estimates(
        tmp_path,
        run_line("printed", weight_format="gptq-int4-g128"),
        run_line("unknown", weight_format="gptq-int4"),
    )
    printed, unknown = (found[name, "weights_gib"] for name in ("printed", "unknown"))
    assert unknown["expected"] == printed["expected"]
    groups = (8_030_261_248 - 2 * 128256 * 4096) * 20 / 128 / 8 / 2**30
    assert printed["low"] - unknown["low"] == pytest.approx(groups, rel=0.05)
    assert unknown["high"] == printed["high"]


def test_a_sum_over_gpus_lets_each_peak_in_a_phase_of_its_own(tmp_path: Path) -> None:
    """With half of the layers the GPU of the head peaks in the prefill, not in the last step.

    Logits of 1024 x 128256 x 6 bytes and their hidden states of 8 MiB, less half of what two
    caches of 5120 tokens are above one of 1024, at 128 KiB a token.
    """
    given = {
        "engine": "transformers",
        "engine_version": "4.41.2",
        "input_tokens": "1024",
        "output_tokens": "4096",
        "max_model_len": "",
        "max_num_batched_tokens": "",
        "batch_size": "1",
        "total_gib": "20",
        "total_metric": "allocated",
    }
    found = estimates(
        tmp_path,
        run_line("one", **given, gpu_count="1"),
        run_line("two", **given, gpu_count="2", scope="total"),
    )
    more = (found["two", "total_gib"]["expected"] - found["one", "total_gib"]["expected"]) * 1024
    logits = 1024 * 128256 * 6 / 2**20 + 8
    assert more == pytest.approx(logits - (2 * 5120 - 1024) * 0.125 / 2, rel=0.03)
