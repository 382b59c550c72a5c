"""The wheel alone, in a clean environment and an empty folder, does the main job."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.scenarios import GOOD, write

PROJECT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=PROJECT,
        check=True,
        capture_output=True,
    )
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; the dependencies are those of this environment."""
    home = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps",
         "--no-index", "--quiet", "--disable-pip-version-check", str(wheel)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    site = next(home.glob("lib/python*/site-packages"))
    # Only the path is added: an editable install of this project is not followed from here.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return home


def test_everything_the_program_reads_is_in_the_wheel(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "planner/_shipped/schemas/scenario.schema.json",
        "planner/_shipped/schemas/plan.schema.json",
        "planner/_shipped/scenarios/quickstart.yaml",
        "planner/catalog/data/gpus.yaml",
        "planner/report/templates/report.html.j2",
    ):
        assert needed in names
    assert not [name for name in names if name.startswith(("tests/", "reports/"))]


def test_a_report_from_an_empty_folder(environment: Path, tmp_path: Path) -> None:
    where = subprocess.run(
        [environment / "bin" / "python", "-c", "import planner; print(planner.__file__)"],
        cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert str(environment) in where.stdout
    run = subprocess.run(
        [environment / "bin" / "planner", "report", write(tmp_path, GOOD)],
        cwd=tmp_path, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "reports/case/report.html").stat().st_size > 10_000


def test_the_module_runs_too(environment: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [environment / "bin" / "python", "-m", "planner", "gpus", "list"],
        cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "h100-sxm-80gb" in run.stdout
