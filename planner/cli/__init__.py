"""Commands: parse, call the pipeline, map outcomes to exit codes."""


def main() -> None:
    """Run the `planner` command."""
    raise SystemExit("not built yet")
