"""Engine profiles: version rule, ranges, files."""

from pathlib import Path

import pytest

from planner.errors import InputProblems
from planner.resolve.engines import (
    CONSTANTS,
    engines_frame,
    find_engine,
    load_engines,
    parse_version,
    profile_of,
    read_engine,
)

VLLM = find_engine("vllm")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("0.19.0", (0, 19, 0)),
        ("0.11.0+582e4e37.nv25.11", (0, 11, 0)),
        ("v0.8.2", (0, 8, 2)),
        ("0.11 series (V1)", (0, 11)),
        ("rocm/vllm:rocm6.4_ubuntu22.04_py3.12_vllm_0.10.1", (0, 10, 1)),
        ("vllm/vllm-openai:v0.11.0", (0, 11, 0)),
        ("PR #10511 dev (2024-12-13)", None),
        ("", None),
        (None, None),
    ],
)
def test_version_texts(text: str | None, version: tuple[int, ...] | None) -> None:
    assert parse_version(text) == version


def test_a_covered_version_takes_its_profile_without_a_note() -> None:
    profile = profile_of(VLLM, "0.19.0")
    assert profile.first <= (0, 19, 0) < profile.below
    assert profile.note == ""


def test_a_newer_version_takes_the_nearest_profile_with_a_wider_range_and_a_note() -> None:
    newest = VLLM.profiles[-1]
    future = profile_of(VLLM, "7.1")
    name = "bytes_per_logit"
    known, guessed = newest.constants[name], future.constants[name]
    assert guessed.value == known.value
    assert guessed.high - guessed.low == pytest.approx(2 * (known.high - known.low))
    assert "7.1" in future.note


def test_an_edge_of_a_range_belongs_to_the_later_profile() -> None:
    assert profile_of(VLLM, "0.8.4").first[:3] == (0, 8, 4)
    assert profile_of(VLLM, "0.8.3").first[:2] == (0, 8)
    assert profile_of(VLLM, "0.7").first[:2] == (0, 7)


def test_an_image_tagged_by_month_takes_the_profile_of_that_time() -> None:
    profile = profile_of(VLLM, "25.09-py3")
    assert profile.first <= (0, 10, 2) < profile.below
    assert "2025-09-01" in profile.note


def test_a_constant_may_have_an_uneven_range() -> None:
    constant = profile_of(VLLM, "0.8.2").constants["default_seqs"]
    assert (constant.low, constant.value, constant.high) == (256, 1024, 1024)


def test_a_version_that_is_not_given_takes_the_newest_with_a_wider_range() -> None:
    newest, absent = VLLM.profiles[-1], profile_of(VLLM, None)
    name = "bytes_per_logit"
    assert absent.constants[name].value == newest.constants[name].value
    assert absent.constants[name].high > newest.constants[name].high
    assert "not given" in absent.note


def test_a_text_that_is_no_version_ranges_over_all_profiles() -> None:
    unknown = profile_of(VLLM, "some fork")
    name = "bytes_per_logit"
    assert unknown.constants[name].value == VLLM.profiles[-1].constants[name].value
    assert unknown.constants[name].high >= max(p.constants[name].value for p in VLLM.profiles)
    assert "range over all versions" in unknown.note


def test_a_dated_build_goes_by_its_date() -> None:
    assert profile_of(VLLM, "nightly (2025-01-16)").first == (0, 6, 5, 0)
    assert profile_of(VLLM, "nightly (2026-08-21)").first == (0, 27, 0)
    assert profile_of(VLLM, "nightly (2027-01-01)").first == VLLM.profiles[-1].first
    assert profile_of(VLLM, "0.1.dev1+g4d2a68d64.d20260816").first == (0, 27, 0)
    assert profile_of(VLLM, "0.19.1.dev3+d20260816").first == (0, 18, 0)


def test_engines_answer_to_aliases_and_unknown_ones_get_a_hint() -> None:
    assert find_engine("TRTLLM").engine == "tensorrt-llm"
    with pytest.raises(KeyError, match="did you mean"):
        find_engine("vlm")


def test_every_shipped_profile_is_complete_and_in_order() -> None:
    for engine in load_engines().values():
        for older, newer in zip(engine.profiles, engine.profiles[1:], strict=False):
            assert older.below <= newer.first
        for profile in engine.profiles:
            assert set(profile.constants) == set(CONSTANTS)
            for constant in profile.constants.values():
                assert constant.low <= constant.value <= constant.high


def test_one_row_an_engine_and_version() -> None:
    used = [("vllm", "0.19.0"), ("vllm", None), ("vllm", "0.19.0"), ("sglang", None)]
    frame = engines_frame(used)
    assert frame.select("engine", "engine_version").rows() == [
        ("vllm", "0.19.0"),
        ("vllm", None),
        ("sglang", None),
    ]


def test_mistakes_in_a_profile_file_are_told_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "engine: mine\ntitle: Mine\nprofiles:\n"
        '  - from: "1"\n    below: "2"\n    constants:\n'
        '      bytes_per_logits: {value: 3, source: "me"}\n'
        "      non_torch_bytes: {value: many}\n"
    )
    with pytest.raises(InputProblems) as caught:
        read_engine(path)
    codes = {(problem.code, problem.line) for problem in caught.value.problems}
    assert ("unknown-constant", 7) in codes
    assert any(line == 8 for _, line in codes)
    assert "did you mean 'bytes_per_logit'" in str(caught.value)


def test_every_constant_is_explained() -> None:
    page = (Path(__file__).parents[2] / "docs" / "verify.md").read_text("utf-8")
    assert [name for name in CONSTANTS if f"`{name}`" not in page] == []


@pytest.mark.parametrize("version", ["9999.1", "25.13", "3025.01"])
def test_numbers_that_are_no_month_are_no_date(version: str) -> None:
    assert "chosen by date" not in profile_of(find_engine("vllm"), version).note


@pytest.mark.parametrize("version", ["25.09", "2025.09"])
def test_images_tagged_by_month_take_the_profile_of_their_day(version: str) -> None:
    assert "chosen by date 2025-09-01" in profile_of(find_engine("vllm"), version).note
