"""Words for a terminal: counts, spans of time, rows; and what others wrote, without anything that it would obey."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from rich.cells import cell_len

_UNSEEN: Final = (*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200B, *range(0x200E, 0x2010), *range(0x2028, 0x202F))
_OBEYED: Final = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _UNSEEN} | {
    code: f"\\u{code:04x}" for code in (*range(0x2060, 0x206A), 0xFEFF)
}
"""Control characters, and those that turn the direction of what follows: spelt out, they can be seen."""
_BLANKS: Final = re.compile(r"[ \t\r\n\f\v\u2028\u2029]+")
_MOST_RANGES: Final = 8
NOT_SHOWN: Final = "(set, not shown)"


def one_line(text: str) -> str:
    """Anybody's text as one line that a terminal only shows."""
    return _BLANKS.sub(" ", text).strip().translate(_OBEYED)


def lines(text: str) -> list[str]:
    """The same for a text whose lines are to stay."""
    return [shown for part in text.splitlines() if (shown := one_line(part))]


def many(count: int, thing: str, things: str = "") -> str:
    """`1 row`, `2,000 rows`; of a word that does not end so, with how it ends."""
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def span(seconds: float) -> str:
    """A span of time as a clock shows it: `0:07`, `12:30`, `3:05:00`."""
    whole = max(int(seconds), 0)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def roughly(seconds: float) -> str:
    """A span that is a guess: `under a minute`, `about 12 min`, `about 3 h`."""
    if seconds < 60:
        return "under a minute"
    return f"about {seconds / 60:.0f} min" if seconds < 90 * 60 else f"about {seconds / 3600:.0f} h"


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = (), indent: str = "  ") -> list[str]:
    """Cells in columns, by the width that a terminal gives them; those in `right` end below each other."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [indent + "  ".join(_cells(row, widths, right)).rstrip() for row in rows]


def _cells(row: Sequence[str], widths: Sequence[int], right: Collection[int]) -> Iterator[str]:
    for at, (cell, width) in enumerate(zip(row, widths, strict=True)):
        blanks = " " * (width - cell_len(cell))
        yield blanks + cell if at in right else cell + blanks


def row_list(rows: Iterable[int], count: int) -> str:
    """`row 3`, `rows 3, 7-12, 40`; of many only the first, and how many rows there are beside those."""
    shown: list[str] = []
    told = 0
    for first, last in _ranges(rows):
        if len(shown) == _MOST_RANGES:
            break
        shown.append(str(first) if first == last else f"{first}-{last}")
        told += last - first + 1
    more = f" and {count - told:,} more" if count > told else ""
    return f"row{'' if count == 1 else 's'} {', '.join(shown)}{more}"


def _ranges(rows: Iterable[int]) -> Iterator[tuple[int, int]]:
    first = last = 0
    for row in rows:
        if first and row == last + 1:
            last = row
            continue
        if first:
            yield first, last
        first = last = row
    if first:
        yield first, last


def masked(address: str) -> str:
    """An address as it may be shown: without its password, and without what a query may hold."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return NOT_SHOWN
    # A password with a / or # in it would end the host too early, and stand in what follows.
    if not parts.scheme or "@" in parts.path + parts.query + parts.fragment:
        return NOT_SHOWN
    user, at, place = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    return f"{parts.scheme}://{name}{':***' if colon else ''}{at}{place}{parts.path}{'?***' if parts.query else ''}"
