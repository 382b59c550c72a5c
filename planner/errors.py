"""What can go wrong, as values: input problems with a position, and few exceptions.

Exit codes: 0 fine; 1 a gate or check says no; 2 the input is wrong; 3 the outside failed or
something needed is missing offline; 70 a bug in the planner.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

EXIT_GATE: Final = 1
EXIT_INPUT: Final = 2
EXIT_OUTSIDE: Final = 3
EXIT_BUG: Final = 70


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in an input file, with the place where a user mends it.

    `line` and `col` are 1-based; 0 means that the whole file is meant. `path` is the place in the
    document (`$.workloads[0].matrix.context_tokens[1]`), `hint` the nearest way out.
    """

    file: str
    line: int
    col: int
    code: str
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.col}" if self.line else self.file
        where = f" {self.path}:" if self.path else ""
        hint = f"; {self.hint}" if self.hint else ""
        return printable(f"{place}: error[{self.code}]{where} {self.message}{hint}")


class PlannerError(Exception):
    """Base of every error that is shown as a message and not as a traceback."""

    exit_code: int = EXIT_INPUT


class InputProblems(PlannerError):
    """The input is wrong. Holds every problem found, in file order."""

    exit_code = EXIT_INPUT

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class OutsideFailure(PlannerError):
    """The network, the disk, a lock file or a missing snapshot stands in the way (exit code 3)."""

    exit_code = EXIT_OUTSIDE


def printable(text: str) -> str:
    """Text on one line without control characters.

    Names come from files of strangers: a line break could forge a second message or a command to
    the CI, an escape could rewrite the terminal.
    """
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )


def did_you_mean(
    word: str, candidates: Iterable[str], *, limit: int = 1, cutoff: float = 0.6
) -> str:
    """A hint that names the nearest candidates, or an empty string where none is near."""
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    near = difflib.get_close_matches(str(word).casefold(), list(by_folded), n=limit, cutoff=cutoff)
    return f"did you mean {quoted_list([by_folded[name] for name in near])}?" if near else ""


def quoted_list(names: Sequence[str]) -> str:
    """Names as `'a'`, `'a' or 'b'`, `'a', 'b' or 'c'`."""
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
