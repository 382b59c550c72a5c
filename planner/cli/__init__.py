"""Commands: parse, call the pipeline, map outcomes to exit codes.

Every command lives in a module of its own, imported only when it is called, so that
`planner --help` answers at once.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final

import click

import planner
from planner.cli.messages import show_bug, show_error
from planner.errors import EXIT_BUG, EXIT_OUTSIDE, PlannerError

_COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "validate": ("planner.cli.validate", "Check scenario files; every mistake at once."),
    "report": ("planner.cli.report", "Write the fit matrix, the choice and the costs."),
    "explain": ("planner.cli.explain", "One cell's memory with formulas and numbers."),
    "estimate": ("planner.cli.estimate", "One cell without a file."),
    "solve": ("planner.cli.solve", "The largest context or concurrency that still fits."),
    "verify": ("planner.cli.verify", "Measured runs against estimates."),
    "calibrate": ("planner.cli.verify", "Fit an engine profile to your own runs."),
    "models": ("planner.cli.models", "Models: list, show, add."),
    "gpus": ("planner.cli.hardware", "GPUs: list, show."),
    "offers": ("planner.cli.hardware", "Prices: list, show."),
    "prices": ("planner.cli.prices", "Price catalogs of other tools: import."),
    "formats": ("planner.cli.catalog", "Weight formats: list, show."),
    "optimizers": ("planner.cli.catalog", "Optimizers: list, show."),
    "engines": ("planner.cli.catalog", "Inference engines: list, show."),
    "diff": ("planner.cli.diff", "What a change does to fit and cost."),
    "check": ("planner.cli.check", "Budgets, and whether the committed plans still hold."),
    "init": ("planner.cli.init", "Files to start a repository of scenarios with."),
    "export": ("planner.cli.export", "The launch of a chosen configuration for other tools."),
    "import": ("planner.cli.importer", "A scenario from other tools' files."),
    "lock": ("planner.cli.lock", "Fetch and pin the models of a scenario (network)."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of a user's work."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command object, imported now."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from their one-line texts, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest command where none has the name."""
        from planner.errors import did_you_mean

        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in _COMMANDS:
            hint = did_you_mean(name, _COMMANDS) or "see 'planner --help'"
            raise click.UsageError(f"no command '{name}'; {hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 fine, 1 a check says no, 2 wrong input, 3 something outside is missing, "
    "70 a bug in the planner.",
)
@click.version_option(planner.__version__, prog_name="planner")
def cli() -> None:
    """Plan capacity for large language models: which GPUs fit, how fast, at what price.

    \b
    Examples:
      planner report scenarios/quickstart.yaml
      planner estimate --model llama-3.1-8b-instruct --method qlora --gpu L4
      planner models show Qwen/Qwen3-8B
    """


def _forget_output() -> None:
    """The reader of our output has gone: not an error of ours, nor of the last flush."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Run the `planner` command and leave with its exit code."""
    output = sys.stdout
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("aborted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except PlannerError as error:
        show_error(error)
        sys.exit(error.exit_code)
    except SystemExit as left:
        # click leaves with 1 when the reader has gone, which here means "a check says no".
        # It replaces the stream it could not write to.
        if sys.stdout is not output:
            sys.exit(0)
        raise left
    except BrokenPipeError:
        _forget_output()
        sys.exit(0)
    except OSError as error:
        where = error.filename or "standard output"
        click.echo(f"error: {where}: {error.strerror or error}", err=True)
        sys.exit(EXIT_OUTSIDE)
    except Exception as error:
        show_bug(error)
        sys.exit(EXIT_BUG)
    sys.exit(code if isinstance(code, int) else 0)
