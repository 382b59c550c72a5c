"""How many cells a second, and how much memory: prints a table, decides nothing.

Each size runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

SIZES = {"1k": 4, "10k": 40, "100k": 400, "1M": 4000}
SCENARIO = """\
version: 1
models: [meta-llama/Llama-3.1-8B-Instruct, Qwen/Qwen3-30B-A3B-Instruct-2507]
workloads:
  - name: serve
    method: inference
    matrix:
      weight_format: [bf16, fp8]
      context_tokens: [{contexts}]
  - name: tune
    matrix:
      method: [lora, qlora]
      sequence_tokens: [{contexts}]
supply:
  gpus: [L4, L40S, A100-80GB, H100, H200]
  gpu_counts: [1, 2, 4, 8]
"""


def run(steps: int) -> None:
    """Time one size and print its row."""
    from planner.pipeline import open_text, plan_context
    from planner.pipeline.decide import decide
    from planner.report import render_report

    contexts = ", ".join(str(512 + 4 * step) for step in range(steps))
    start = time.perf_counter()
    context = open_text(SCENARIO.format(contexts=contexts), "benchmark", Path())
    opened = time.perf_counter()
    cells = decide(context)
    decided = time.perf_counter()
    result = plan_context(context, command="benchmark")
    planned = time.perf_counter()
    rendered = ""
    if cells.height <= 200_000:
        render_report(result.plan, result.cells)
        rendered = f"{time.perf_counter() - planned:10.2f}"
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    rate = cells.height / (decided - opened)
    print(
        f"{cells.height:>10,}{opened - start:10.2f}{decided - opened:10.2f}{rate:14,.0f}"
        f"{planned - decided:10.2f}{rendered:>10}{peak_gib:10.2f}"
    )


def main() -> None:
    """Run every size, or the one named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", nargs="?", choices=list(SIZES))
    size = parser.parse_args().size
    if size:
        run(SIZES[size])
        return
    print(f"{'cells':>10}{'open s':>10}{'decide s':>10}{'cells/s':>14}{'plan s':>10}"
          f"{'render s':>10}{'peak GiB':>10}")  # fmt: skip
    for name in SIZES:
        subprocess.run([sys.executable, __file__, name], check=True)


if __name__ == "__main__":
    main()
