"""Numbers and names as a review shows them, safe in each format."""

from __future__ import annotations

import html
import re
from typing import Final

MINUS: Final = "\N{MINUS SIGN}"
DASH: Final = "\N{EN DASH}"
MAX_NAME: Final = 160
_PLAIN: Final = re.compile("[A-Za-z0-9 .,;%$+/()=→×…·?\"'\N{MINUS SIGN}\N{EN DASH}-]")
_INVISIBLE: Final = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2069\\ufeff]"
)
_ZERO_WIDTH_SPACE: Final = "\N{ZERO WIDTH SPACE}"


def plain(text: str, limit: int = MAX_NAME) -> str:
    """One line without control or invisible characters: they can reorder what a reader sees."""
    shown = _INVISIBLE.sub(lambda m: " " if m.group() in "\t\r\n" else "�", text)
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def markdown(text: str, limit: int = MAX_NAME) -> str:
    """Text that markdown shows as it is: no markup, no table cells, no mentions, no links.

    GitHub looks for mentions, issue numbers and addresses after markdown is done, so a zero-width
    space stands behind the characters that start them.
    """
    shown = plain(text, limit)
    safe = "".join(
        c if _PLAIN.match(c) or c.isalnum() or _is_calm(shown, i) else f"&#{ord(c)};"
        for i, c in enumerate(shown)
    )
    for mark in ("&#64;", "&#35;", "&#58;"):
        safe = safe.replace(mark, mark + _ZERO_WIDTH_SPACE)
    return safe.replace("www.", f"www{_ZERO_WIDTH_SPACE}.")


def _is_calm(text: str, index: int) -> bool:
    """Whether a character that can be markup is not: `_` inside a word, `:` before a space."""
    before, after = text[max(index - 1, 0) : index], text[index + 1 : index + 2]
    if text[index] == "_":
        return before.isalnum() and after.isalnum()
    return text[index] == ":" and after == " "


def code(text: str) -> str:
    """A name in code letters, with the same safety."""
    shown = plain(text)
    safe = "".join(
        c if c.isalnum() or c in " ./=-," or (c == "_" and _is_calm(shown, i)) else f"&#{ord(c)};"
        for i, c in enumerate(shown)
    )
    return f"<code>{safe}</code>"


def escaped_html(text: str, limit: int = MAX_NAME) -> str:
    """Text for an HTML element or attribute."""
    return html.escape(plain(text, limit), quote=True)


def usd(amount: float | None) -> str:
    """`$1,234`; cents below 100."""
    if amount is None:
        return DASH
    sign = MINUS if amount < 0 else ""
    size = abs(amount)
    return f"{sign}${size:,.2f}" if 0 < size < 100 else f"{sign}${size:,.0f}"


def signed_usd(amount: float | None) -> str:
    """Money with its sign: `+$1,234`, `$0`."""
    if amount is None:
        return DASH
    return f"+{usd(amount)}" if amount > 0 else usd(amount)


def signed_percent(ratio: float | None) -> str:
    """`+18 %`; a tenth where a whole per cent would say nothing."""
    if ratio is None:
        return ""
    percent = ratio * 100
    text = f"{abs(percent):.1f}" if abs(percent) < 1 else f"{abs(percent):,.0f}"
    return f"{'+' if percent >= 0 else MINUS}{text} %"


def count_of(number: int, word: str, plural: str = "") -> str:
    """`1 case`, `2 cases`."""
    return f"{number} {word if number == 1 else plural or word + 's'}"
