"""Formats text for a terminal: counts, durations, rows, a manifest's faults, and foreign text with escapes."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click
from rich.cells import cell_len

from reelq.errors import Fault
from reelq.manifest import checks

_INVISIBLE: Final = (*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200B, *range(0x200E, 0x2010), *range(0x2028, 0x202F))
_ESCAPES: Final = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _INVISIBLE} | {
    code: f"\\u{code:04x}" for code in (*range(0x2060, 0x206A), 0xFEFF)
}
"""Escapes for control characters and for those that change the direction of text, so that they become visible."""
_BLANKS: Final = re.compile(r"[ \t\r\n\f\v\u2028\u2029]+")
_MOST_RANGES: Final = 8
NOT_SHOWN: Final = "(set, not shown)"


def safe_line(text: str) -> str:
    """Foreign text as one line, with control characters escaped so that a terminal does not obey them."""
    return _BLANKS.sub(" ", text).strip().translate(_ESCAPES)


def safe_lines(text: str) -> list[str]:
    """Foreign text like `one_line`, with its line breaks kept."""
    return [shown for part in text.splitlines() if (shown := safe_line(part))]


def plural(count: int, thing: str, things: str = "") -> str:
    """`1 row`, `2,000 rows`. `things` is the plural, if it is irregular."""
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def format_duration(seconds: float) -> str:
    """A duration: `0:07`, `12:30`, `3:05:00`."""
    whole = max(int(seconds), 0)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def rough_duration(seconds: float) -> str:
    """An estimated duration: `under a minute`, `about 12 min`, `about 3 h`."""
    if seconds < 60:
        return "under a minute"
    return f"about {seconds / 60:.0f} min" if seconds < 90 * 60 else f"about {seconds / 3600:.0f} h"


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = (), indent: str = "  ") -> list[str]:
    """Align cells in columns by their width on a terminal. `right` are the right-aligned columns."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [indent + "  ".join(_cells(row, widths, right)).rstrip() for row in rows]


def _cells(row: Sequence[str], widths: Sequence[int], right: Collection[int]) -> Iterator[str]:
    for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
        blanks = " " * (width - cell_len(cell))
        yield blanks + cell if index in right else cell + blanks


def row_list(rows: Iterable[int], count: int) -> str:
    """`row 3`, `rows 3, 7-12, 40`. Of many rows, the first ranges and how many more there are."""
    shown: list[str] = []
    listed = 0
    for first, last in _ranges(rows):
        if len(shown) == _MOST_RANGES:
            break
        shown.append(str(first) if first == last else f"{first}-{last}")
        listed += last - first + 1
    more = f" and {count - listed:,} more" if count > listed else ""
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


def without_password(address: str) -> str:
    """An address without its password and query, so that it can be shown."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return NOT_SHOWN
    # An unescaped / or # in a password ends the host too early, and leaves the password in the rest.
    if not parts.scheme or "@" in parts.path + parts.query + parts.fragment:
        return NOT_SHOWN
    user, at, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    return f"{parts.scheme}://{name}{':***' if colon else ''}{at}{host}{parts.path}{'?***' if parts.query else ''}"


_CONTROL_ESCAPES: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) != "\t"}
"""Escapes for control characters, which a terminal would obey. Tabs stay."""


def show_findings(path: Path, checked: checks.Checked, *, err: bool = False) -> None:
    """Print every fault and every warning, in the order of the manifest's lines."""
    faults = set(checked.faults)  # there may be as many as rows
    for fault in sorted((*checked.faults, *checked.warnings)):
        _show(path, fault, is_fault=fault in faults, err=err)


def _show(path: Path, fault: Fault, *, is_fault: bool, err: bool) -> None:
    kind = click.style("fault", fg="red", bold=True) if is_fault else click.style("warning", fg="yellow", bold=True)
    where = f"{path}:" + (f"{fault.line}:" if fault.line else "") + (f" {fault.column}:" if fault.column else "")
    click.echo(f"{where.translate(_CONTROL_ESCAPES)} {kind}: {fault.message}", err=err)
    for line in fault.value.splitlines():
        click.echo(f"    {line.translate(_CONTROL_ESCAPES)}", err=err)
    if fault.hint:
        click.secho(f"    {fault.hint.translate(_CONTROL_ESCAPES)}", dim=True, err=err)
