"""Names people type lead to one entry, or to an error that lists the candidates."""

import pytest

from planner.catalog import NameProblem, load_catalog, resolve_name
from planner.documents import parse_document


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("h100-sxm-80gb", "h100-sxm-80gb"),
        ("H100", "h100-sxm-80gb"),
        ("h100", "h100-sxm-80gb"),
        ("H100-NVL", "h100-nvl-94gb"),
        ("H100 PCIe", "h100-pcie-80gb"),
        ("A100-80GB", "a100-sxm4-80gb"),
        ("A100-40GB", "a100-sxm4-40gb"),
        ("A100 80GB PCIe", "a100-pcie-80gb"),
        ("NVIDIA A100-SXM4-80GB", "a100-sxm4-80gb"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm-80gb"),
        ("H100 80GB SXM", "h100-sxm-80gb"),
        ("rtx 4090", "rtx-4090-24gb"),
        ("RTX4090", "rtx-4090-24gb"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090-24gb"),
        ("RTX6000-Ada", "rtx-6000-ada-48gb"),
        ("RTX-6000-Ada", "rtx-6000-ada-48gb"),
        ("RTXPRO6000", "rtx-pro-6000-blackwell-server-96gb"),
        ("A6000", "rtx-a6000-48gb"),
        ("Tesla T4", "t4-16gb"),
        ("L4", "l4-24gb"),
        ("L40S", "l40s-48gb"),
        ("V100-32GB", "v100-sxm2-32gb"),
        ("AMD Instinct MI300X", "mi300x-192gb"),
        ("Gaudi2", "gaudi2-96gb"),
        ("MI250X", "mi250x-gcd-64gb"),
    ],
)
def test_gpu_names_lead_to_ids(typed: str, meant: str) -> None:
    assert resolve_name("gpus", typed) == meant


@pytest.mark.parametrize(
    ("typed", "some_candidates"),
    [
        ("A100", {"a100-sxm4-40gb", "a100-sxm4-80gb", "a100-pcie-40gb", "a100-pcie-80gb"}),
        ("V100", {"v100-sxm2-16gb", "v100-sxm2-32gb"}),
        ("RTX 6000", {"quadro-rtx-6000-24gb", "rtx-6000-ada-48gb"}),
        ("rtx6000", {"quadro-rtx-6000-24gb", "rtx-6000-ada-48gb"}),
        ("GH200", {"gh200-96gb", "gh200-144gb"}),
        ("MI300", {"mi300x-192gb", "mi300a-128gb"}),
        ("Apple M3", {"apple-m3-max", "apple-m3-ultra"}),
        ("Gaudi", {"gaudi2-96gb", "gaudi3-128gb"}),
    ],
)
def test_ambiguous_gpu_name_lists_its_candidates(typed: str, some_candidates: set[str]) -> None:
    with pytest.raises(NameProblem) as raised:
        resolve_name("gpus", typed)
    assert raised.value.code == "ambiguous-gpu"
    assert some_candidates <= set(raised.value.candidates)
    assert all(candidate in str(raised.value) for candidate in some_candidates)


def test_unknown_gpu_name_gets_the_nearest() -> None:
    with pytest.raises(NameProblem) as raised:
        resolve_name("gpus", "h100-sxm-8gb")
    assert raised.value.code == "unknown-gpu"
    assert "h100-sxm-80gb" in raised.value.hint


def test_a_count_behind_a_gpu_name_is_explained() -> None:
    with pytest.raises(NameProblem, match="write 'a100-sxm4-80gb'; how many goes into gpu_counts"):
        resolve_name("gpus", "A100-80GB:8")


def test_nothing_near_points_to_the_list() -> None:
    with pytest.raises(NameProblem, match="planner gpus list"):
        resolve_name("gpus", "zzzzzzzz")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Q4_K_M", "q4_k_m"),
        ("q4-k-m", "q4_k_m"),
        ("bfloat16", "bf16"),
        ("awq", "awq-int4-g128"),
        ("GPTQ", "gptq-int4-g128"),
        ("NF4", "nf4"),
        ("nf4-dq", "nf4-dq"),
        ("w8a8", "int8-w8a8"),
    ],
)
def test_format_names_lead_to_ids(typed: str, meant: str) -> None:
    assert resolve_name("formats", typed) == meant


@pytest.mark.parametrize("typed", ["fp4", "4bit", "8-bit"])
def test_ambiguous_format_name_lists_its_candidates(typed: str) -> None:
    with pytest.raises(NameProblem) as raised:
        resolve_name("formats", typed)
    assert raised.value.code == "ambiguous-format"
    assert len(raised.value.candidates) >= 3


def test_every_id_alias_and_full_name_leads_to_its_own_entry() -> None:
    catalog = load_catalog()
    for kind in ("gpus", "formats"):
        for row in catalog.rows(kind):
            for name in (row["id"], row["id"].upper(), *row.get("aliases", ())):
                assert catalog.resolve(kind, name) == row["id"], name
            for name in row.get("shared_names", ()):
                with pytest.raises(NameProblem):
                    catalog.resolve(kind, name)


def test_name_problem_takes_its_place_in_a_document() -> None:
    document = parse_document("supply:\n  gpus: [H100, A100]\n", "case.yaml")
    with pytest.raises(NameProblem) as raised:
        resolve_name("gpus", "A100")
    problem = raised.value.problem(document, ("supply", "gpus", 1))
    assert str(problem).startswith("case.yaml:2:16: error[ambiguous-gpu] $.supply.gpus[1]: 'A100'")
