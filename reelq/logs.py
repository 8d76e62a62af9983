"""Logging: lines for people or JSON objects for machines, and never a token.

Code that starts to work on something adds it to the context once. Every record that is logged in that context contains
it, including records of libraries.
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Literal

from celery import signals

from reelq.nemo.safe_text import redact

QUIET: Final = ("httpx", "httpcore", "alembic", "kombu", "celery.worker.strategy", "celery.app.trace")
"""Libraries that log each request or message. Results' URLs must not be logged, and tasks log on their own."""
_SERVERS: Final = ("uvicorn", "uvicorn.access")
"""Loggers with handlers of their own if the server is started by its own command."""
_STANDARD_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message", "color_message"}
_CONSOLE_FIELDS: Final = ("request", "delivery", "job", "stage")
_context: ContextVar[Mapping[str, object]] = ContextVar("reelq_about", default=MappingProxyType({}))


@contextmanager
def log_context(**words: object) -> Iterator[None]:
    """Add fields to all records that are logged within this block."""
    token = _context.set({**_context.get(), **words})
    try:
        yield
    finally:
        _context.reset(token)


def add_context(**words: object) -> None:
    """Add fields to all later records of this context, such as the rest of a request."""
    _context.set({**_context.get(), **words})


def warn_unavailable(log: logging.Logger, what: Literal["database", "broker"], consequence: str) -> None:
    """Warn that the database or the broker is unavailable. Workers count these warnings in `reelq_away_total`."""
    log.warning("The %s is unavailable. %s", what, consequence, extra={"away": what})


class _Console(logging.Formatter):
    def __init__(self) -> None:
        super().__init__(datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - overrides logging.Formatter
        context = _context.get()
        where = " ".join(str(context[name]) for name in _CONSOLE_FIELDS if name in context)
        head = f"{self.formatTime(record, self.datefmt)} {record.levelname:7}"
        return " ".join((head, f"{where}: {record.message}" if where else record.message))

    def usesTime(self) -> bool:  # noqa: N802 - overrides logging.Formatter
        return True

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            fields["exception"] = redact(self.formatException(record.exc_info))
        if record.stack_info:
            fields["stack"] = redact(self.formatStack(record.stack_info))
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD_FIELDS}
        for name, value in {**_context.get(), **extra}.items():
            fields.setdefault(name, _redacted(name, value))
        return json.dumps(fields, ensure_ascii=False)


def _redacted(name: str, value: object) -> object:
    """A field's value, redacted if it looks like a token or its field is named like one."""
    if value is None or isinstance(value, int | float):
        return value
    return redact(f"{name}: {value}").removeprefix(f"{name}: ")


def set_up(form: Literal["console", "json"], level: int = logging.INFO) -> None:
    """Log everything in this process to standard error in this form, replacing the existing handlers."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Console())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    for name in _SERVERS:
        if logging.getLogger(name).handlers:  # otherwise it is silenced, or set up like this already
            logging.getLogger(name).handlers.clear()
            logging.getLogger(name).propagate = True


def set_up_for_celery(form: Literal["console", "json"]) -> None:
    """Set up logging, and again when Celery would set up its own, then at the level of its command line."""
    set_up(form)

    @signals.setup_logging.connect(weak=False)
    def set_up_again(loglevel: Any = None, **_: Any) -> None:
        set_up(form, loglevel if isinstance(loglevel, int) else logging.INFO)

    @signals.celeryd_init.connect(weak=False)
    def leave_out_banner(instance: Any = None, **_: Any) -> None:
        """Leave out the start banner among JSON records, where it is not machine-readable."""
        instance.quiet = instance.quiet or form == "json"
