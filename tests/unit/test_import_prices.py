"""Public price catalogs: every quirk of theirs on a row of its own, and the shared samples."""

import csv
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from planner.catalog.load import load_catalog
from planner.catalog.read import read_rows
from planner.cli import cli
from planner.errors import InputProblems
from planner.interop.import_prices import ImportedPrices, import_prices, write_offers
from planner.interop.import_prices_gpuinfo import GpuInfo, parse_gpu_info
from planner.interop.import_prices_gpus import split_name
from tests.shared import shared_path

AWS = (
    "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,"
    "AvailabilityZone"
)
GCP = (
    "InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,"
    "AvailabilityZone,Price,SpotPrice"
)
GPUHUNT = (
    "instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size,"
    "gpu_vendor,flags,cpu_arch,provider_data"
)


def imported(folder: Path, header: str, *rows: str, provider: str = "acme") -> ImportedPrices:
    file = folder / "vms.csv"
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return import_prices(file, provider=provider, price_date="2026-11-01")


def prices(result: ImportedPrices) -> dict[tuple[str, str], float]:
    return {(o["instance_type"], o["purchase"]): o["usd_per_hour"] for o in result.offers}


def info(name: str, mib: object) -> str:
    return (
        f"\"{{'Gpus': [{{'Name': '{name}', 'Count': 1, 'MemoryInfo': {{'SizeInMiB': {mib}}}}}]}}\""
    )


def aws(gpu: str, mib: object, price: str, spot: str, zone: str = "a", **more: Any) -> str:
    name, count = more.get("name", gpu), more.get("count", "8.0")
    instance = more.get("instance", "big")
    return f"{instance},{name},{count},96,1152,{info(gpu, mib)},{price},{spot},us-east-1,{zone}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", GpuInfo()),
        ("RTX_4090", GpuInfo("RTX_4090")),
        ("{'Gpus': [{'Name': 'A100', 'Count': 8, 'MemoryInfo': {'SizeInMiB': 40960}}]}",
         GpuInfo("A100", 40.0, 8.0)),
        ('{"Gpus": [{"Name": "B300", "Count": 2, "MemoryInfo": {"SizeInMiB": 268800}}]}',
         GpuInfo("B300", 262.5, 2.0)),
        ("{'Gpus': [{'Name': 'H100', 'Manufacturer': null, 'Count': 8, "
         "'MemoryInfo': {'SizeInMiB': 81920}}]}", GpuInfo("H100", 80.0, 8.0)),
        ("{'gpus': [{'name': 'h100', 'count': 8.0, 'memoryinfo': {'sizeinmib': 81920}}], "
         "'totalgpumemoryinmib': 81920}", GpuInfo("h100", 80.0, 8.0)),
        ("{'Gpus': [{'Name': 'A100', 'Count': '8.0', 'MemoryInfo': {'SizeInMiB': 81920}}]}",
         GpuInfo("A100", 80.0, 8.0)),
        ("{'Gpus': [{'Name': 'L40S', 'Count': 8.0, 'MemoryInfo': {'SizeInMiB': 48}, "
         "'TotalGpuMemoryInMiB': 384}]}", GpuInfo("L40S", 48.0, 8.0)),
        ("{'Gpus': [{'Name': 'B200', 'Count': 8, 'MemoryInfo': {'SizeInMiB': 0}}]}",
         GpuInfo("B200", None, 8.0)),
        ("{'Gpus': [", None),
    ],
)  # fmt: skip
def test_gpu_info_is_read_in_every_dialect(text: str, found: GpuInfo | None) -> None:
    assert parse_gpu_info(text) == found


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("A100-80G-PCIe", ("a100", "pcie", 80.0)),
        ("A10G", ("a10g", "", None)),
        ("NVIDIA H100 80GB HBM3", ("h100", "", 80.0)),
        ("RTX_4070S_Ti", ("rtx4070tisuper", "", None)),
        ("RTXPRO6000-WK", ("rtxpro6000", "ws", None)),
        ("H100NVL", ("h100", "nvl", None)),
    ],
)
def test_names_come_apart(name: str, parts: tuple[str, str, float | None]) -> None:
    found = split_name(name)
    assert (found.family, found.form, found.memory_gb) == parts


def test_one_name_of_two_cards_is_told_by_memory(tmp_path: Path) -> None:
    result = imported(
        tmp_path, AWS,
        aws("A100", 40960, "21.96", "", instance="p4d"),
        aws("A100", 81920, "27.45", "", instance="p4de"),
    )  # fmt: skip
    gpus = {o["instance_type"]: o["gpu"] for o in result.offers}
    assert gpus == {"p4d": "a100-sxm4-40gb", "p4de": "a100-sxm4-80gb"}


def test_a_name_without_memory_that_means_several_cards_is_left_out_and_said(
    tmp_path: Path,
) -> None:
    result = imported(tmp_path, AWS, aws("A100", 0, "20", ""))
    assert result.offers == ()
    assert "A100 may mean" in "\n".join(result.summary())


def test_the_instance_name_of_a_marketplace_tells_more_than_the_merged_gpu_name(
    tmp_path: Path,
) -> None:
    result = imported(
        tmp_path, AWS,
        aws("RTX4060", 16380, "0.10", "0.00", instance="1x-RTX_4060_Ti-16-32768", count=1),
        aws("RTX3060", 8192, "0.05", "0.00", instance="1x-RTX_3060_Ti-16-32768", count=1),
        aws("RTX3060", 8192, "0.05", "0.00", instance="1x-RTX_3060-16-32768", count=1),
    )  # fmt: skip
    assert sorted(o["gpu"] for o in result.offers) == ["rtx-3060-ti-8gb", "rtx-4060-ti-16gb"]
    assert "1 × no RTX_3060 with 8 GB in the GPU catalog (line 4)" in "\n".join(result.summary())


def test_host_and_accelerator_rows_are_added_within_their_zone(tmp_path: Path) -> None:
    result = imported(
        tmp_path, GCP,
        "a2-highgpu-2g,24,170,,,,us-central1,us-central1-a,1.47896,0.77624",
        "a2-highgpu-2g,24,170,,,,us-east4,us-east4-a,1.47896,0.77624",
        ",,,A100,1,A100-40GB,us-central1,us-central1-a,2.933908,1.54",
        "n1-highmem-8,8,52,,,,us-central1,us-central1-a,0.47321,0.09962",
        ",,,T4,1,T4,us-central1,us-central1-a,0.35,0.14",
    )  # fmt: skip
    # Two A100s at 2.933908 on a host of 1.47896 are 7.346776; in us-east4 nobody sells the A100.
    assert prices(result) == pytest.approx({
        ("a2-highgpu-2g", "on-demand"): 1.47896 + 2 * 2.933908,
        ("a2-highgpu-2g", "spot"): 0.77624 + 2 * 1.54,
        ("n1-highmem-8+T4x1", "on-demand"): 0.47321 + 0.35,
        ("n1-highmem-8+T4x1", "spot"): 0.09962 + 0.14,
    })  # fmt: skip
    assert {o["region"] for o in result.offers} == {"us-central1"}
    assert "its price is not whole (line 3)" in "\n".join(result.summary())


def test_a_host_takes_only_the_accelerator_that_is_built_into_it(tmp_path: Path) -> None:
    result = imported(
        tmp_path, GCP,
        "a2-ultragpu-1g,12,170,,,,r,r-a,1.4,",
        "a2-highgpu-1g,12,85,,,,r,r-b,0.7,",
        "a3-megagpu-8g,208,1872,,,,r,r-a,14.0,",
        ",,,A100,1,,r,r-a,2.9,",
        ",,,A100-80GB,1,,r,r-b,3.9,",
        ",,,H100-MEGA-80GB,8,,r,r-a,70.0,",
    )  # fmt: skip
    # The 80 GB host finds only the 40 GB card in its zone, and the other way round.
    assert prices(result) == {("a3-megagpu-8g", "on-demand"): 84.0}
    assert [o["gpu"] for o in result.offers] == ["h100-sxm-80gb"]


def test_a_host_says_which_card_its_bare_accelerator_name_means(tmp_path: Path) -> None:
    result = imported(
        tmp_path, GCP,
        "a2-highgpu-1g,12,85,,,,r,r-a,0.7,0.4",
        ",,,A100,1,A100,r,r-a,2.9,1.5",
        "n1-standard-8,8,30,,,,r,r-a,0.4,0.1",
        ",,,V100,1,V100,r,r-a,2.48,0.8",
    )  # fmt: skip
    gpus = {o["instance_type"]: o["gpu"] for o in result.offers}
    assert gpus == {"a2-highgpu-1g": "a100-sxm4-40gb", "n1-standard-8+V100x1": "v100-sxm2-16gb"}
    assert prices(result)["a2-highgpu-1g", "on-demand"] == pytest.approx(3.6)


@pytest.mark.parametrize("blank", ["nan", "NaN", "None", "null", "N/A", "-", " "])
def test_what_feeds_write_for_nothing_is_a_blank(tmp_path: Path, blank: str) -> None:
    result = imported(
        tmp_path, AWS,
        f"x,H100,8,{blank},{blank},,55.04,{blank},r,a", f"y,H100,8,192,2048,,{blank},12.5,r,a",
    )  # fmt: skip
    assert prices(result) == {("x", "on-demand"): 55.04, ("y", "spot"): 12.5}
    assert result.offers[0]["vcpus"] is None


def test_a_price_below_zero_leaves_the_other_price_alone(tmp_path: Path) -> None:
    result = imported(tmp_path, AWS, aws("H100", 81920, "-1", "12.5"))
    assert prices(result) == {("big", "spot"): 12.5}
    assert "on-demand price below 0: not sold this way" in result.skipped.counts


@pytest.mark.parametrize(
    "text",
    [
        "INSTANCETYPE,acceleratorname,AcceleratorCount,PRICE,Region\nx,H100,8,55.04,r\n",
        "InstanceType, AcceleratorName, AcceleratorCount, Price, Region\nx, H100, 8, 55.04, r\n",
        "InstanceType;AcceleratorName;AcceleratorCount;Price;Region\r\nx;H100;8;55.04;r\r\n",
        "\ufeffRegion,Price,AcceleratorCount,AcceleratorName,InstanceType\nr,55.04,8.0,H100,x\n",
        "Instance_Name,Location,Price,GPU_Count,GPU_Name,Spot\nx,r,55.04,8,H100,False\n",
    ],
)
def test_columns_may_stand_in_any_order_case_and_separator(tmp_path: Path, text: str) -> None:
    file = tmp_path / "vms.csv"
    file.write_bytes(text.encode())
    result = import_prices(file, provider="acme", price_date="2026-11-01")
    assert prices(result) == {("x", "on-demand"): 55.04}


def test_of_two_gpu_counts_of_one_instance_the_usual_one_stays(tmp_path: Path) -> None:
    rows = [aws("H100", 81920, usd, "", zone, count=n)
            for usd, zone, n in (("55", "a", 8), ("55", "b", 8), ("30", "c", 4))]  # fmt: skip
    result = imported(tmp_path, AWS, *rows)
    assert [(o["gpu_count"], o["usd_per_hour"]) for o in result.offers] == [(8, 55)]
    assert result.skipped.counts["same instance type and region with another GPU count"] == 1


def test_a_seller_is_the_same_in_any_case(tmp_path: Path) -> None:
    result = imported(tmp_path, AWS, aws("L4", 22888, "0.8", ""), provider="AWS")
    assert result.offers[0]["provider"] == "aws"


def test_a_tpu_row_is_a_whole_slice(tmp_path: Path) -> None:
    result = imported(
        tmp_path, GCP,
        ",,,tpu-v6e-8,1,tpu-v6e-8,us-east4,us-east4-a,21.6,700.0",
        ",,,tpu-v5p-8,1,tpu-v5p-8,us-east4,us-east4-a,16.8,",
    )  # fmt: skip
    counts = {o["gpu"]: (o["gpu_count"], o["usd_per_hour"]) for o in result.offers}
    # v6e counts chips, v5p TensorCores, of which a chip has two. 700 is no price.
    assert counts == {"tpu-v6e-32gb": (8, 21.6), "tpu-v5p-95gb": (4, 16.8)}
    assert "spot price is the placeholder 700" in "\n".join(result.summary())


def test_blank_zero_and_placeholder_mean_not_sold_this_way(tmp_path: Path) -> None:
    result = imported(
        tmp_path, AWS,
        aws("H200", 144384, "", "14.03", instance="p5e"),
        aws("H200", 144384, "0", "0.00", instance="p5en"),
        aws("H200", 144384, "700.0", "9.5", instance="p5x"),
    )  # fmt: skip
    assert prices(result) == {("p5e", "spot"): 14.03, ("p5x", "spot"): 9.5}
    assert result.skipped.counts["on-demand price of 0: not sold this way"] == 1


def test_spot_by_zone_is_the_median_with_the_least_beside_it(tmp_path: Path) -> None:
    result = imported(
        tmp_path, AWS,
        aws("H100", 81920, "55.04", "16.95", "az1"),
        aws("H100", 81920, "55.04", "55.04", "az2"),
        aws("H100", 81920, "55.04", "20.00", "az3"),
        aws("H100", 81920, "55.04", "", "az4"),
    )  # fmt: skip
    spot = next(o for o in result.offers if o["purchase"] == "spot")
    assert spot["usd_per_hour"] == 20.0
    assert "median of 3 zones; lowest 16.95 in az1, highest 55.04" in spot["note"]


def test_a_spot_column_that_repeats_the_price_is_no_spot_offer(tmp_path: Path) -> None:
    result = imported(tmp_path, AWS, aws("L4", 24, "0.7", "0.7"), aws("L40S", 48, "1.2", "1.2"))
    assert {o["purchase"] for o in result.offers} == {"on-demand"}
    assert result.skipped.counts["spot column repeats the on-demand price"] == 2


def test_a_share_of_a_gpu_keeps_its_share(tmp_path: Path) -> None:
    result = imported(tmp_path, AWS, aws("L4", 22888, "0.2", "", instance="g6f", count="0.125"))
    assert [o["gpu_count"] for o in result.offers] == [0.125]


def test_memory_given_for_all_gpus_is_shared_out(tmp_path: Path) -> None:
    result = imported(tmp_path, AWS, aws("L4", 183105, "6.68", "", instance="g6.48xlarge"))
    assert [o["gpu"] for o in result.offers] == ["l4-24gb"]
    assert "memory given for all GPUs" in result.offers[0]["note"]


def test_processors_alone_and_broken_rows_are_counted_with_their_lines(tmp_path: Path) -> None:
    result = imported(
        tmp_path, AWS,
        "a1.large,,,2,4,,0.1,0.1,us-east-1,a",
        "cpu-d3,,0,4,16,,0.0992,,eu-north1,",
        aws("L4", 22888, "cheap", ""),
        aws("K80", 12288, "0.9", ""),
        aws("L4", 22888, "0.8", "", instance="g6") + ",one,too,many",
    )  # fmt: skip
    text = "\n".join(result.summary())
    assert result.offers == ()
    assert "2 × no accelerator (CPU instance) (lines 2, 3)" in text
    assert "1 × a cell can't be read: 'cheap' is no number (line 4)" in text
    assert "1 × not in the GPU catalog: K80 (line 5)" in text
    assert "1 × more cells than columns (line 6)" in text


def test_an_aggregator_keeps_the_seller_behind_it(tmp_path: Path) -> None:
    row = aws("L40S", 48, "7.04", "", instance="massedcompute_L40Sx8")
    result = imported(tmp_path, AWS, row, provider="shadeform")
    assert result.offers[0]["provider"] == "shadeform/massedcompute"


def test_gpuhunt_has_a_row_per_way_of_buying(tmp_path: Path) -> None:
    result = imported(
        tmp_path, GPUHUNT,
        'x8,eu-west-1,12.0,64,512.0,8,H100,80.0,True,500.0,nvidia,f1,arm,"{""k"": 1}"',
        "x8,eu-west-1,25.0,64,512.0,8,H100,80.0,False,500.0,nvidia,f1,arm,{}",
        "nvl,eu-west-1,3.0,16,64.0,1,H100NVL,94.0,False,,nvidia,,x86,{}",
        "amd,eu-west-1,20.0,96,1024.0,8,MI325X,288.0,False,,amd,,x86,{}",
        "i,loc,1.0,1,1.0,0,,,False,,,,x86,{}",
        "bad,loc,1.0,1,1.0,1,L4,24,perhaps,,,,x86,{}",
    )  # fmt: skip
    assert prices(result) == {
        ("x8", "spot"): 12.0, ("x8", "on-demand"): 25.0, ("nvl", "on-demand"): 3.0,
        ("amd", "on-demand"): 20.0,
    }  # fmt: skip
    gpus = {o["instance_type"]: o["gpu"] for o in result.offers}
    assert gpus == {"x8": "h100-sxm-80gb", "nvl": "h100-nvl-94gb", "amd": "mi325x-256gb"}
    amd = next(o for o in result.offers if o["instance_type"] == "amd")
    assert "the feed says 288 GB" in amd["note"]
    assert "spot is 'perhaps' (line 7)" in "\n".join(result.summary())


def test_an_older_gpuhunt_file_lacks_the_last_columns(tmp_path: Path) -> None:
    header = "instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size"
    result = imported(tmp_path, header, "t,us-central1,1.2,24,96,1,tpu-v5litepod-8,16,False,100")
    assert [(o["gpu"], o["gpu_count"]) for o in result.offers] == [("tpu-v5e-16gb", 8)]
    plain = imported(tmp_path, header, "g,us-central1,0.7,8,32,1,L4,24,False,100")
    assert prices(plain) == {("g", "on-demand"): 0.7}


def test_another_csv_is_refused_with_the_columns_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(InputProblems, match="without Price"):
        imported(tmp_path, "InstanceType,AcceleratorName,AcceleratorCount,Region", "a,b,1,c")
    with pytest.raises(InputProblems, match="no such file"):
        import_prices(tmp_path / "none.csv", provider="a", price_date=None)


def test_what_is_written_is_read_as_prices_of_the_catalog(tmp_path: Path) -> None:
    result = imported(tmp_path, AWS, aws("H100", 81920, "55.04", "16.95"))
    target = tmp_path / "prices" / "acme.csv"
    write_offers(result, target)
    rows = read_rows(target, "offers", catalog=load_catalog())
    assert [row["usd_per_hour"] for row in rows] == [55.04, 16.95]
    assert {row["price_date"] for row in rows} == {"2026-11-01"}
    assert {row["source"] for row in rows} == {"vms.csv"}


def test_the_command_prints_the_summary_and_writes_the_file(tmp_path: Path) -> None:
    file, out = tmp_path / "vms.csv", tmp_path / "out.csv"
    file.write_text(f"{AWS}\n{aws('L4', 22888, '0.8', '')}\n", "utf-8")
    command = ["prices", "import", str(file), "--provider", "aws", "--date", "2026-11-01"]
    done = CliRunner().invoke(cli, [*command, "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert "1 row of a SkyPilot catalog: 1 price (1 on-demand)" in done.output
    assert len(list(csv.DictReader(out.read_text("utf-8").splitlines()))) == 1


def sections(text: str) -> dict[str, list[str]]:
    """The sample of many sellers as CSV lines by seller; headers partly stand in comments."""
    found: dict[str, list[str]] = {}
    default = ""
    for line in text.splitlines():
        if line.startswith("# header"):
            found[name] = [line.removeprefix("# header").strip()]  # noqa: F821
        elif line.startswith("#"):
            name = line[1:].split()[0] + (" v5" if "v5" in line else "")
            _, _, rest = line.partition("header ")
            header = rest.split(" ")[0]
            found[name] = [header if "," in header else default]
        elif line.startswith("InstanceType"):
            default = found[name][0] = line
        else:
            found[name].append(line)
    return found


@pytest.mark.shared
def test_the_samples_of_the_small_clouds_are_read_row_by_row(tmp_path: Path) -> None:
    text = shared_path("reference/hardware/samples/skypilot_neoclouds.txt").read_text("utf-8")
    read = {}
    for name, lines in sections(text).items():
        provider = name.split()[0]
        result = imported(tmp_path, lines[0], *lines[1:], provider=provider)
        for o in result.offers:
            read[o["provider"], o["instance_type"], o["purchase"]] = (
                o["gpu"], o["gpu_count"], o["usd_per_hour"], o["region"],
            )  # fmt: skip
    assert read == {
        ("lambda", "gpu_8x_h100_sxm5", "on-demand"): ("h100-sxm-80gb", 8, 31.92, "us-east-1"),
        ("nebius", "gpu-b200-sxm_8gpu-160vcpu-1792gb", "on-demand"):
            ("b200-sxm-180gb", 8, 44, "us-central1"),
        ("nebius", "gpu-b200-sxm_8gpu-160vcpu-1792gb", "spot"):
            ("b200-sxm-180gb", 8, 23.2, "us-central1"),
        ("verda", "2B300.60V", "spot"): ("b300-sxm-288gb", 2, 4.893, "FIN-03"),
        ("runpod", "1x_A100-80GB_SECURE", "on-demand"): ("a100-pcie-80gb", 1, 1.39, "US"),
        ("vast", "1x-H100_SXM-32-65536", "on-demand"):
            ("h100-sxm-80gb", 1, 1.8, "Florida, US, NA"),
        ("hyperstack", "n3-H100x8", "on-demand"): ("h100-pcie-80gb", 8, 15.2, "CANADA-1"),
        ("shadeform/massedcompute", "massedcompute_L40Sx8", "on-demand"):
            ("l40s-48gb", 8, 7.04, "kansascity-usa-1"),
        ("do", "gpu-h100x8-640gb", "on-demand"): ("h100-sxm-80gb", 8, 47.6, "tor1"),
        ("cudo", "intel-ice-lake-a100-pci_8x64v128gb", "on-demand"):
            ("a100-pcie-80gb", 8, 11.5488, "us-carlsbad-1"),
        ("runpod", "1x_RTX4090_SECURE", "on-demand"): ("rtx-4090-24gb", 1, 0.74, "CZ"),
        ("runpod", "1x_RTX4090_SECURE", "spot"): ("rtx-4090-24gb", 1, 0.39, "CZ"),
    }  # fmt: skip


@pytest.mark.shared
def test_a_host_row_alone_never_sells_its_gpu(tmp_path: Path) -> None:
    file = shared_path("reference/hardware/samples/skypilot_gcp_v9.csv")
    result = import_prices(file, provider="gcp", price_date="2026-11-01")
    assert {o["gpu"] for o in result.offers} == {"tpu-v6e-32gb"}
    assert min(o["usd_per_hour"] for o in result.offers) > 1


@pytest.mark.shared
def test_the_sample_of_aws_is_read_with_its_spot_prices() -> None:
    file = shared_path("reference/hardware/samples/skypilot_aws_v9.csv")
    result = import_prices(file, provider="aws", price_date="2026-11-01")
    found = prices(result)
    assert found["p5.48xlarge", "spot"] == 16.9508
    assert ("p5e.48xlarge", "on-demand") not in found
    assert len(result.offers) == 14
