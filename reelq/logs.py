"""What a process writes about itself: a line for people or a JSON object for machines, and never a token.

Whoever begins to work on something says so once (`about`, `note`); every line that is written meanwhile tells it, those
of libraries too.
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

from reelq.remote.redact import redact

QUIET: Final = ("httpx", "httpcore", "alembic", "kombu", "celery.worker.strategy", "celery.app.trace")
"""They tell of each request or message, and addresses of results are no business of a log; tasks tell of themselves."""
_SERVERS: Final = ("uvicorn", "uvicorn.access")
"""Whoever starts the server by its own command has given these handlers of their own."""
_OF_EVERY_RECORD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message", "color_message"}
_SHOWN_TO_PEOPLE: Final = ("request", "delivery", "job", "stage")

_about: ContextVar[Mapping[str, object]] = ContextVar("reelq_about", default=MappingProxyType({}))


@contextmanager
def about(**words: object) -> Iterator[None]:
    """What every line tells that is written within."""
    token = _about.set({**_about.get(), **words})
    try:
        yield
    finally:
        _about.reset(token)


def note(**words: object) -> None:
    """The same for all that is still to come in this context: the rest of a request, say."""
    _about.set({**_about.get(), **words})


class _Console(logging.Formatter):
    def __init__(self) -> None:
        super().__init__(datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - it is called so there
        told = _about.get()
        where = " ".join(str(told[name]) for name in _SHOWN_TO_PEOPLE if name in told)
        head = f"{self.formatTime(record, self.datefmt)} {record.levelname:7}"
        return " ".join((head, f"{where}: {record.message}" if where else record.message))

    def usesTime(self) -> bool:  # noqa: N802 - the same
        return True

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            told["exception"] = redact(self.formatException(record.exc_info))
        if record.stack_info:
            told["stack"] = redact(self.formatStack(record.stack_info))
        extra = {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD}
        for name, value in {**_about.get(), **extra}.items():
            told.setdefault(name, _shown(name, value))
        return json.dumps(told, ensure_ascii=False)


def _shown(name: str, value: object) -> object:
    """A field's value, with nothing left in it that is shaped like a token, or is named like one by its field."""
    if value is None or isinstance(value, int | float):
        return value
    return redact(f"{name}: {value}").removeprefix(f"{name}: ")


def set_up(form: Literal["console", "json"], level: int = logging.INFO) -> None:
    """All of this process's log to standard error, in this form; what it was before is dropped."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Console())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    for name in _SERVERS:
        if logging.getLogger(name).handlers:  # else it was told to be silent, or is set up like this already
            logging.getLogger(name).handlers.clear()
            logging.getLogger(name).propagate = True


def for_celery(form: Literal["console", "json"]) -> None:
    """The same, and no other once Celery would set up its own; then at the level that its command line names."""
    set_up(form)

    @signals.setup_logging.connect(weak=False)
    def instead(loglevel: Any = None, **_: Any) -> None:
        set_up(form, loglevel if isinstance(loglevel, int) else logging.INFO)

    @signals.celeryd_init.connect(weak=False)
    def without_banner(instance: Any = None, **_: Any) -> None:
        """Among objects, a picture of the configuration would be no line that a machine can read."""
        instance.quiet = instance.quiet or form == "json"
