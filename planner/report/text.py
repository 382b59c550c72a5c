"""The plan in a terminal: the decision, then a compact fit matrix, never wider than asked for."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

from planner.plan import Plan
from planner.report import view, words
from planner.report.csv import matrix_texts

_STYLES: Final = {"bold": "1", "dim": "2", "good": "34", "warn": "33", "best": "1;36"}
_ROWS_SHOWN: Final = 40
_CELL_WIDTH: Final = 6
_MIN_WIDTH: Final = 60
_PURCHASES: Final = ("spot", "reserved-1y", "reserved-3y")
"""Ways of buying that bind or may end: said beside the seller."""


def summary(plan: Plan, width: int = 100, color: bool = False) -> str:
    """A few screens of text at most, every line at most `width` columns (60 at least).

    `color` adds terminal colours; a caller passes True only for a terminal without NO_COLOR.
    """
    paint = _Paint(color)
    width = max(width, _MIN_WIDTH)
    lines = [paint("bold", _cut(plan.scenario.title, width)), *_wrapped(plan.headline, width), ""]
    lines += _decision(plan, width, paint)
    lines += _matrix(plan, width, paint)
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


class _Paint:
    """Wraps text in a terminal style, or leaves it alone."""

    def __init__(self, color: bool) -> None:
        self._color = color

    def __call__(self, style: str, text: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._color and text else text


def _decision(plan: Plan, width: int, paint: _Paint) -> list[str]:
    lines: list[str] = []
    rows = view.choices(plan)
    for choice in rows:
        if choice.outcome != "chosen":
            glyph = "x" if choice.outcome == "nothing-fits" else "?"
            what = f"{glyph} {choice.workload}: {choice.model}, {choice.what}"
            lines += [paint("warn", _cut(what, width)), *_wrapped(choice.sentence, width, "    ")]
    if lines:
        lines.append("")
    chosen = [choice for choice in rows if choice.outcome == "chosen"]
    room = max([12, *(min(20, _width(_where(choice))) for choice in chosen)])
    for workload, members in view.by_workload(chosen):
        lines.append(paint("bold", _cut(workload, width)))
        for choice in members:
            lines.append("  " + _cut(f"{choice.model}, {choice.what}", width - 2))
            lines.append("    " + _cut(_answer(choice, room), width - 4))
        lines.append("")
    told = [f"! {text}" for text in plan.warnings]
    told += [
        f"! budget {budget.id} is broken: {words.usd(budget.usd_per_month)} a month"
        for budget in plan.budgets
        if budget.state == "broken"
    ]
    lines += [line for text in told for line in _wrapped(text, width)]
    return lines + [""] * bool(told)


def _where(choice: view.Choice) -> str:
    """The seller, and how it is bought where that binds or may end."""
    parts = choice.offer.split(" · ")
    return " ".join(dict.fromkeys([parts[0], *(p for p in parts if p in _PURCHASES)]))


def _answer(choice: view.Choice, room: int) -> str:
    configuration = _clean(choice.configuration.replace("×", "x"))
    cost = f"{choice.month} a month" if choice.month else f"{choice.hour} an hour"
    other = choice.runner_up.replace("×", "x")
    runner = f"next {choice.surcharge}: {other}" if other else ""
    cells = [
        _pad(_cut(configuration, 26), 26),
        _pad(_cut(_where(choice), room), room),
        _pad(f"{choice.free} free", 9, right=True),
        _pad(cost, 16, right=True),
    ]
    return "  ".join([*cells, runner])


def _matrix(plan: Plan, width: int, paint: _Paint) -> list[str]:
    """Rows: what is bought, then other cases; columns: the cheapest configurations in use."""
    order = sorted(range(len(plan.cases)), key=lambda i: not plan.cases[i].is_bought)[:_ROWS_SHOWN]
    if not order or not plan.configurations:
        return []
    varying = view.varying_axes(plan)
    names = [
        f"{words.model_name(plan.cases[i].model)}, {view.case_what(plan.cases[i], varying)}"
        for i in order
    ]
    first = min(max(_width(_clean(name)) for name in names), width * 2 // 5)
    columns = _columns(plan, (width - first) // (_CELL_WIDTH + 1))
    texts = _short_texts(plan)
    lines = [paint("bold", "Fit matrix"), "% free, or how many times over; * cheapest, ~ tight"]
    for number, column in enumerate(columns):
        lines.append(_cut(f"  {_letter(number)}  {_column_words(plan, column)}", width))
    letters = [_pad(_letter(number), _CELL_WIDTH, right=True) for number in range(len(columns))]
    lines.append(" ".join([_pad("", first), *letters]))
    for row, name in zip(order, names, strict=True):
        cells = (texts.get((row, column), ("", "")) for column in columns)
        shown = [paint(style or "dim", _pad(t, _CELL_WIDTH, right=True)) for style, t in cells]
        lines.append(" ".join([_pad(_cut(name, first), first), *shown]))
    if len(plan.cases) > len(order):
        lines.append(f"... and {len(plan.cases) - len(order)} more cases in matrix.csv")
    hidden = len(plan.configurations) - len(columns)
    if hidden:
        lines.append(f"... and {hidden} more configurations in matrix.csv")
    return lines


def _column_words(plan: Plan, column: int) -> str:
    configuration = plan.configurations[column]
    price = words.usd(configuration.usd_per_hour, plan.scenario.currency)
    return _clean(configuration.label) + (f", {price} an hour" if price else "")


def _letter(number: int) -> str:
    return chr(ord("A") + number)


def _columns(plan: Plan, room: int) -> list[int]:
    """As many configurations as fit: those bought, then the cheapest; in order of price."""
    infinity = float("inf")
    price = {i: c.usd_per_hour or infinity for i, c in enumerate(plan.configurations)}
    positions = {(c.gpu, c.gpu_count): i for i, c in enumerate(plan.configurations)}
    used: dict[int, None] = {}
    for case in plan.cases:
        if case.is_bought and case.cheapest is not None:
            cell = plan.details[case.cheapest].cell
            position = positions.get((str(cell.get("gpu")), int(cell.get("gpu_count") or 0)))
            if position is not None:
                used[position] = None
    others = sorted((i for i in price if i not in used), key=lambda i: (price[i], i))
    chosen = [*used, *others][: max(1, min(room, 26))]
    return sorted(chosen, key=lambda i: (price[i], i))


def _short_texts(plan: Plan) -> dict[tuple[int, int], tuple[str, str]]:
    """(case, configuration) -> style and at most six characters."""
    frame = matrix_texts(plan)
    found = {}
    columns = ("case", "configuration", "verdict", "price_state", "is_cheapest", "text")
    for case, configuration, verdict, price, cheapest, text in frame.select(columns).iter_rows():
        style, short = "dim", "-"
        if verdict in ("fits", "tight"):
            number = text.split()[1]
            style = "best" if cheapest else "warn" if verdict == "tight" else "good"
            short = f"*{number}" if cheapest else f"~{number}" if verdict == "tight" else number
            if price != "priced":
                style, short = "dim", "?"
        elif verdict == "exceeds":
            short = text.split()[1]
        found[case, configuration] = (style, short)
    return found


def _clean(text: str) -> str:
    """Without control characters: a name must not steer the terminal."""
    return "".join(
        " " if char in "\t\n\r" else char
        for char in text
        if char in "\t\n\r" or unicodedata.category(char) not in ("Cc", "Cf")
    )


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def _cut(text: str, width: int) -> str:
    text = _clean(text)
    if _width(text) <= width:
        return text
    while text and _width(text) > width - 3:
        text = text[:-1]
    return text + "..."


def _pad(text: str, width: int, right: bool = False) -> str:
    space = " " * max(0, width - _width(text))
    return space + text if right else text + space


def _wrapped(text: str, width: int, indent: str = "") -> Iterable[str]:
    import textwrap

    return textwrap.wrap(_clean(text), width, initial_indent=indent, subsequent_indent=indent)
