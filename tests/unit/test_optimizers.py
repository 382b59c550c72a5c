"""The catalogs of optimizers and training presets."""

import pytest

from planner.catalog.load import catalog_rows
from planner.resolve.frameworks import frameworks_frame, optimizers_frame
from tests.training_cells import cell, estimate


def test_every_entry_passes_its_schema() -> None:
    assert catalog_rows("optimizers", "optimizers")
    assert catalog_rows("frameworks", "frameworks")


def test_names_and_aliases_are_unique() -> None:
    names = [
        name for row in catalog_rows("optimizers") for name in (row["id"], *row.get("aliases", []))
    ]
    assert len(names) == len(set(names))


def test_every_preset_is_complete() -> None:
    frame = frameworks_frame()
    optional = {"compute_dtype"}
    for name in frame.columns:
        if name not in optional:
            assert frame[name].null_count() == 0, name
    known = set(optimizers_frame()["optimizer"])
    assert set(frame["optimizer"]) <= known


def test_a_users_override_replaces_one_field_of_a_preset() -> None:
    frame = frameworks_frame({"trl": {"holds_logits": True}})
    rows = {row["framework"]: row for row in frame.iter_rows(named=True)}
    assert rows["trl"]["holds_logits"]
    assert not rows["hf-trainer"]["holds_logits"]


@pytest.mark.parametrize(
    ("optimizer", "bytes_per_parameter"),
    [
        ("adamw", 4.0),
        ("adamw-fp32", 8.0),
        ("adamw-8bit", 2 + 8 / 256),
        ("lion", 2.0),
        ("sgd", 0.0),
        ("sgd-momentum", 2.0),
        ("paged-adamw-8bit", 0.0),
        ("adamw-mixed-fp32-master", 12.0),
    ],
)
def test_states_of_bf16_parameters(optimizer: str, bytes_per_parameter: float) -> None:
    (row,) = estimate(cell(optimizer=optimizer, micro_batch_size=8))
    assert row["optimizer_bytes"] == pytest.approx(bytes_per_parameter * 1_235_814_400, abs=1.0)
