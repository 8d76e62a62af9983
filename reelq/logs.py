"""What a process writes about itself: a line for people or a JSON object for machines, and never a token."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, Literal

from celery import signals

from reelq.remote.redact import redact

_QUIET: Final = ("httpx", "httpcore", "alembic", "kombu")
"""They tell of each request or message, and addresses of results are no business of a log."""


class _Console(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            told["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(told, ensure_ascii=False)


def set_up(form: Literal["console", "json"], level: int = logging.INFO) -> None:
    """All of this process's log to standard error, in this form; what it was before is dropped."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Console())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def for_celery(form: Literal["console", "json"]) -> None:
    """The same, and no other once Celery would set up its own; then at the level that its command line names."""
    set_up(form)

    @signals.setup_logging.connect(weak=False)
    def instead(loglevel: Any = None, **_: Any) -> None:
        set_up(form, loglevel if isinstance(loglevel, int) else logging.INFO)
