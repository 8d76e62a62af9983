"""What can lie in the queue and is no message of ours, in words: it is dropped, and the row it meant is sent again.

A queue outlives updates and is open to others: another version's messages, a text that was cut off, a stranger's. Some
of them Celery leaves unacknowledged, so that they come again for ever, and of others the whole worker dies.
"""

from collections.abc import Container
from typing import Any, Final

_LONGEST_NAME: Final = 80
_PARTS: Final = 3
_MOST: Final = 2**31


def why_not(message: Any, tasks: Container[str]) -> str:
    """Why this is not to be dealt with; empty where it is."""
    headers = message.headers
    task = headers.get("task")
    if not (isinstance(task, str) and isinstance(headers.get("id"), str)):
        return "its headers name no task and no id"
    if task not in tasks:
        return f"no task here is called {shortened(task)}; a newer version may know it"
    if headers.get("eta") is not None or headers.get("expires") is not None:
        return "it has a time of its own, and times are kept in the database alone"
    if not _are_times(headers.get("timelimit")) or not isinstance(headers.get("retries") or 0, int):
        return "its headers are not in order"
    return _why_not_body(message)


def _why_not_body(message: Any) -> str:
    try:
        body = message.decode()
    except Exception as error:  # noqa: BLE001 - which ones there are is a matter of what the body claims to be
        return f"its body can't be read ({type(error).__name__})"
    if not (isinstance(body, list) and len(body) == _PARTS):
        return "its body is no list of three"
    args, named, embedded = body
    if not (isinstance(args, list) and isinstance(named, dict) and isinstance(embedded, dict | None)):
        return "its body holds no arguments"
    if not all(_fits(each) for each in args):
        return "the database can hold no such arguments"
    return "" if _is_chain((embedded or {}).get("chain")) else "what follows in its chain are no tasks"


def _fits(argument: object) -> bool:
    """Whether a database can be asked for it: PostgreSQL knows no NUL, and no number has an end in JSON."""
    return "\0" not in argument if isinstance(argument, str) else not isinstance(argument, int) or abs(argument) < _MOST


def _is_chain(links: object) -> bool:
    return links is None or (
        isinstance(links, list) and all(isinstance(link, dict) and isinstance(link.get("task"), str) for link in links)
    )


def _are_times(limits: object) -> bool:
    """Two, where there are any: as in `[null, null]`."""
    if not isinstance(limits, list):
        return limits is None
    return len(limits) == 2 and all(isinstance(each, int | float | None) for each in limits)


def shortened(name: object) -> str:
    """As a line of a log can show it, whatever it is."""
    shown = ascii(name)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[:_LONGEST_NAME]}…"
