"""Exports fed to their consumers' own parsers, in interpreters that have them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from planner.interop.exports import EXPORTS
from planner.interop.launch import Launch
from tests.launches import serving, training

_SCRIPTS: Final = {
    "KUBERNETES": """
import sys, yaml, kubernetes_validate
version = kubernetes_validate.latest_version()
for document in yaml.safe_load_all(open(sys.argv[1])):
    kubernetes_validate.validate(document, version, strict=True)
""",
    "SKYPILOT": """
import sys, sky
task = sky.Task.from_yaml(sys.argv[1])
assert task.resources and task.num_nodes == 1
""",
    "DSTACK": """
import sys, yaml
from dstack._internal.core.models.configurations import parse_apply_configuration
configuration = parse_apply_configuration(yaml.safe_load(open(sys.argv[1])))
assert configuration.resources.gpu.count.min >= 1
""",
    "ACCELERATE": """
import sys
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
load_config_from_file(sys.argv[1])
arguments = launch_command_parser().parse_args(["--config_file", sys.argv[1], "x.py"])
_validate_launch_command(arguments)
""",
    "TRL": """
import sys
from trl import ModelConfig, ScriptArguments, SFTConfig, TrlParser
parser = TrlParser((ScriptArguments, SFTConfig, ModelConfig))
arguments = ["--config", sys.argv[1], "--use_cpu", "true", "--bf16", "false", "--dataset_name", "x"]
*_, model, rest = parser.parse_args_and_config(args=arguments, return_remaining_strings=True)
assert not rest, rest
assert model.model_name_or_path
""",
}
_CASES: Final = [
    ("KUBERNETES", "kubernetes", serving(replicas=2)),
    ("SKYPILOT", "skypilot", serving()),
    ("SKYPILOT", "skypilot", serving(replicas=3)),
    ("SKYPILOT", "skypilot", training()),
    ("DSTACK", "dstack", serving()),
    ("DSTACK", "dstack", training()),
    ("ACCELERATE", "accelerate", training()),
    ("ACCELERATE", "accelerate", training(sharding="ddp", gpu_count=2)),
    ("ACCELERATE", "accelerate", training(sharding="fsdp", gpu_count=2)),
    ("ACCELERATE", "accelerate", training(sharding="zero3", framework="deepspeed", gpu_count=2)),
    ("TRL", "trl", training()),
    ("TRL", "trl", training(method="qlora", weight_format="nf4-dq", optimizer="paged-adamw-8bit")),
    ("TRL", "trl", training(method="dora", loss_kernel="liger")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("oracle", "target", "launch"), _CASES)
def test_the_consumer_reads_it(oracle: str, target: str, launch: Launch, tmp_path: Path) -> None:
    python = os.environ.get(f"PLANNER_ORACLE_{oracle}")
    if not python:
        pytest.skip(f"PLANNER_ORACLE_{oracle} names no interpreter")
    file = tmp_path / "export.yaml"
    file.write_text(EXPORTS[target](launch))
    done = subprocess.run(
        [python, "-W", "ignore", "-c", _SCRIPTS[oracle], str(file)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
