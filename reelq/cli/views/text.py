"""Formats text for a terminal: counts, times, rows, a batch's progress, a manifest's faults, and foreign text."""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
from rich.cells import cell_len

from reelq.job import Status
from reelq.manifest import checks
from reelq.store.queries.batch_status import Snapshot

_INVISIBLE: Final = (*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200B, *range(0x200E, 0x2010), *range(0x2028, 0x202F))
_ESCAPES: Final = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _INVISIBLE} | {
    code: f"\\u{code:04x}" for code in (*range(0x2060, 0x206A), 0xFEFF)
}
"""Escapes for control characters and for those that change the direction of text, so that they become visible."""
_CONTROL_ESCAPES: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) != "\t"}
"""Escapes for control characters, which a terminal would obey. Tabs stay."""
_BLANKS: Final = re.compile(r"[ \t\r\n\f\v\u2028\u2029]+")
_MOST_RANGES: Final = 8
_LONGEST_TITLE: Final = 40
NOT_SHOWN: Final = "(set, not shown)"


def safe_line(text: str) -> str:
    """Foreign text as one line, with control characters escaped so that a terminal does not obey them."""
    return _BLANKS.sub(" ", text).strip().translate(_ESCAPES)


def safe_lines(text: str) -> list[str]:
    """Foreign text like `safe_line`, with its line breaks kept."""
    return [shown for part in text.splitlines() if (shown := safe_line(part))]


def plural(count: int, thing: str, things: str = "") -> str:
    """`1 row`, `2,000 rows`. `things` is the plural, if it is irregular."""
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def format_time(at: datetime) -> str:
    """A time to the minute, in the local time zone."""
    return f"{at.astimezone():%Y-%m-%d %H:%M}"


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

    def padded(index: int, cell: str) -> str:
        blanks = " " * (widths[index] - cell_len(cell))
        return blanks + cell if index in right else cell + blanks

    return [indent + "  ".join(padded(*numbered) for numbered in enumerate(row)).rstrip() for row in rows]


def row_list(rows: Iterable[int], count: int) -> str:
    """`row 3`, `rows 3, 7-12, 40`. Of many rows, the first ranges and how many more there are."""
    ranges: list[list[int]] = []
    for row in rows:
        if ranges and row == ranges[-1][1] + 1:
            ranges[-1][1] = row
        else:
            ranges.append([row, row])
    shown = ranges[:_MOST_RANGES]
    listed = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in shown)
    hidden = count - sum(last - first + 1 for first, last in shown)
    return f"row{'' if count == 1 else 's'} {listed}{f' and {hidden:,} more' if hidden > 0 else ''}"


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


def show_findings(path: Path, checked: checks.Checked, *, err: bool = False) -> None:
    """Print every fault and every warning, in the order of the manifest's lines."""
    fault_label = click.style("fault", fg="red", bold=True)
    warning_label = click.style("warning", fg="yellow", bold=True)
    faults = set(checked.faults)  # there may be as many as rows
    for found in sorted((*checked.faults, *checked.warnings)):
        label = fault_label if found in faults else warning_label
        where = f"{path}:" + (f"{found.line}:" if found.line else "") + (f" {found.column}:" if found.column else "")
        click.echo(f"{where.translate(_CONTROL_ESCAPES)} {label}: {found.message}", err=err)
        for line in found.value.splitlines():
            click.echo(f"    {line.translate(_CONTROL_ESCAPES)}", err=err)
        if found.hint:
            click.secho(f"    {found.hint.translate(_CONTROL_ESCAPES)}", dim=True, err=err)


def print_json(data: dict[str, Any]) -> None:
    """Print an object as a line of JSON on stdout, and flush."""
    click.echo(json.dumps(data, ensure_ascii=False, default=str))


def title(row: int, name: str, what: str) -> str:
    """A row as its user knows it: number, id from the manifest, and file or else instruction."""
    row_id = "" if name == str(row) else f" ({safe_line(name)})"
    shown = safe_line(what)
    return f"row {row}{row_id} · {shown if len(shown) <= _LONGEST_TITLE else shown[: _LONGEST_TITLE - 1] + '…'}"


def progress_line(batch: Snapshot) -> str:
    """The progress of a batch in one line. Its credits are approximate if it shares some cost with other batches."""
    others = [(batch.count(Status.FAILED), "failed"), (batch.count(Status.CANCELLED), "cancelled")]
    others += [(batch.count(Status.WAITING) + batch.held, "waiting")]
    counts = "".join(f", {count:,} {word}" for count, word in others if count)
    credits_ = f"{'about ' if batch.shared else ''}{plural(batch.credits, 'credit')}"
    return f"{batch.count(Status.SUCCEEDED):,} of {plural(batch.total, 'row')} done{counts}, {credits_}"
