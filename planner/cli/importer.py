"""`planner import`: from other tools' files to a scenario."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from planner.cli.review_options import emit
from planner.errors import OutsideFailure

if TYPE_CHECKING:
    from planner.interop.foreign import Imported

_KINDS: Final = ("vllm", "skypilot", "trl", "axolotl", "torchtune")


@click.command("import")
@click.argument("file", metavar="FILE|-")
@click.option("--from", "kind", type=click.Choice(_KINDS), help="Default: told from the content.")
@click.option("--gpu", "gpus", multiple=True, help="GPU to plan for; may be given several times.")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True,
              help="GPUs of a training run; commands that serve say it themselves.")  # fmt: skip
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="File.")
def import_(
    file: str, kind: str | None, gpus: tuple[str, ...], count: int, output: Path | None
) -> None:
    """Turn a `vllm serve` command, a SkyPilot task or a training config into a scenario.

    What has no counterpart is named in comments on top of the scenario.

    \b
    Examples:
      planner import start.sh --gpu H100 -o scenarios/chat.yaml
      echo "vllm serve Qwen/Qwen3-8B --max-model-len 16k" | planner import -
    """
    from planner.interop.foreign import refused

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except UnicodeDecodeError:
        raise refused(file, "is not UTF-8 text") from None
    except FileNotFoundError:
        raise refused(file, "no such file") from None
    except OSError as error:
        raise OutsideFailure(f"can't read {file}: {error.strerror or error}") from error
    name = "standard input" if file == "-" else Path(file).name
    emit(_imported(text, name, kind, gpus, count).text(name), output)


def _imported(
    text: str, name: str, kind: str | None, gpus: tuple[str, ...], count: int
) -> Imported:
    from planner.interop.import_serving import from_skypilot, from_vllm
    from planner.interop.import_training import from_axolotl, from_torchtune, from_trl

    wanted = gpus or ("all",)
    found = kind or told_kind(text)
    if found == "vllm":
        return from_vllm(text, name, wanted)
    if found == "skypilot":
        imported = from_skypilot(text, name)
        if gpus:
            imported.scenario["supply"]["gpus"] = list(gpus)
        return imported
    reader = {"trl": from_trl, "axolotl": from_axolotl, "torchtune": from_torchtune}[found]
    return reader(text, name, wanted, count)


def told_kind(text: str) -> str:
    """Which tool's file it is, from keys that only it has; a shell command otherwise."""
    import re

    def has(*keys: str) -> bool:
        return any(re.search(rf"^\s*{key}\s*:", text, re.M) for key in keys)

    if has("run") and has("resources", "setup", "num_nodes"):
        return "skypilot"
    if has("base_model"):
        return "axolotl"
    if has("_component_"):
        return "torchtune"
    if has("model_name_or_path", "per_device_train_batch_size"):
        return "trl"
    return "vllm"


# The command's name is a keyword, so the group finds it under this one.
globals()["import"] = import_
