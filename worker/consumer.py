"""Celery's consumer, hardened against broker outages and foreign or malformed messages.

A message that cannot be handled is dropped and logged. If it was meant for a job, that job is published again later.
"""

import logging
import time
from collections.abc import Callable, Container
from typing import Any, Final

from celery.worker.consumer import Consumer as CelerysConsumer

from reelq.logs import warn_unavailable

log = logging.getLogger(__name__)
_EVENT_INTERVAL: Final = 0.2
"""Seconds between two batches of events."""
_CLOSE_ATTEMPTS: Final = 100


class Consumer(CelerysConsumer):
    """Survives lost acknowledgements and foreign messages. A broken connection is noticed when it is next read."""

    hub: Any
    _flush_events: Callable[[], None]
    strategies: dict[str, Any]
    controller: Any
    connection_errors: tuple[type[Exception], ...]

    _next_flush_at = 0.0

    def on_send_event_buffered(self) -> None:  # type: ignore[override] # the stubs have it return something
        """Send events in batches, a few times a second. Sending each by itself costs as much as running a task."""
        now = time.monotonic()
        if self.hub and now >= self._next_flush_at:
            self._next_flush_at = now + _EVENT_INTERVAL
            self.hub.call_soon(self.hub.call_later, _EVENT_INTERVAL, self._flush_events)

    def call_soon_ack(self, p: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Schedule `p`, which acknowledges or rejects one message, and ignore its errors."""

        def attempt(*args: Any, **kwargs: Any) -> None:
            try:
                p(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - the type depends on where the connection broke
                log.info("Could not acknowledge a message: %r", error)

        return super().call_soon_ack(attempt, *args, **kwargs)  # type: ignore[misc] # the stubs are older

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Log the outage. Closing a broken connection can fail too, which must not prevent the reconnect."""
        warn_unavailable(log, "broker", "Messages are redelivered when it is back.")
        try:
            super().on_connection_error_after_connected(exc)
        except Exception as error:  # noqa: BLE001 - any failure to close it
            log.warning("Could not close the lost broker connection cleanly: %r", error)

    def on_close(self) -> None:
        """Clear the state of the lost connection. Retry, as Celery iterates over sets that pool threads change."""
        for attempts_left in reversed(range(_CLOSE_ATTEMPTS)):
            try:
                super().on_close()
            except RuntimeError:  # "Set changed size during iteration" would end the worker
                if not attempts_left:
                    raise
            else:
                return

    def connection_for_read(self, heartbeat: Any = None) -> Any:
        """Return a connection that drops data which cannot even be parsed as a message."""
        connection: Any = super().connection_for_read(heartbeat)
        transport = connection.transport
        # The transport parses the raw text first, and then the message that the text describes. Both can fail.
        if hasattr(transport, "on_readable"):
            transport.on_readable = self._drop_unparsable(transport.on_readable, only=ValueError)
        if hasattr(transport, "_deliver"):
            transport._deliver = self._drop_unparsable(transport._deliver)  # noqa: SLF001 - there is no public hook
        return connection

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Return the function that handles a message."""
        handle_task = super().create_task_handler(*args, **kwargs)

        def handle(message: Any) -> None:
            problem = why_not(message, self.strategies)
            try:
                if not problem:
                    # Celery would refuse a revoked task for hours, however often its row is published. Only the
                    # database decides whether a row is cancelled.
                    self.controller.state.revoked.discard(message.headers["id"])
                    handle_task(message)
            except Exception as error:
                if self._is_broken(error):
                    raise
                problem = f"it cannot be handled: {shortened(error)}"
            if problem:
                self._drop(message, problem)

        return handle

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Drop a message whose body cannot be decoded, as when it is not compressed but claims to be."""
        self._drop(message, f"its body can't be read ({type(exc).__name__})")

    def _drop(self, message: Any, problem: str) -> None:
        name = shortened(message.headers.get("id"))
        log.warning("Dropped message %s: %s", name, problem)
        if not message.acknowledged:
            message.reject_log_error(log, self.connection_errors)

    def _drop_unparsable(self, act: Callable[..., Any], only: type[Exception] = Exception) -> Callable[..., Any]:
        def attempt(*args: Any, **kwargs: Any) -> Any:
            try:
                return act(*args, **kwargs)
            except only as error:
                if self._is_broken(error):
                    raise
                log.warning("Dropped an invalid message from the queue: %s", shortened(error))

        return attempt

    def _is_broken(self, error: Exception) -> bool:
        """Whether the connection failed. Celery counts missing keys too, but malformed messages cause these."""
        return isinstance(error, self.connection_errors) and not isinstance(error, LookupError)


_LONGEST_NAME: Final = 80
_BODY_PARTS: Final = 3
_INTEGER_LIMIT: Final = 2**31


def why_not(message: Any, tasks: Container[str]) -> str:
    """Return why the message cannot be handled, or an empty string if it can."""
    headers = message.headers
    task = headers.get("task")
    if not (isinstance(task, str) and isinstance(headers.get("id"), str)):
        return "its headers name no task and no id"
    if task not in tasks:
        return f"no task here is called {shortened(task)}; a newer version may know it"
    if headers.get("eta") is not None or headers.get("expires") is not None:
        return "it has an eta or expiry, which reelq does not use"
    if not _are_time_limits(headers.get("timelimit")) or not isinstance(headers.get("retries") or 0, int):
        return "its headers are invalid"
    return _body_problem(message)


def _body_problem(message: Any) -> str:
    try:
        body = message.decode()
    except Exception as error:  # noqa: BLE001 - the type depends on the encoding that the body claims to have
        return f"its body can't be read ({type(error).__name__})"
    if not (isinstance(body, list) and len(body) == _BODY_PARTS):
        return "its body is not a list of three items"
    args, kwargs, embedded = body
    if not (isinstance(args, list) and isinstance(kwargs, dict) and isinstance(embedded, dict | None)):
        return "its body has no arguments"
    if not all(_is_storable(argument) for argument in args):
        return "the database cannot store its arguments"
    return "" if _is_chain((embedded or {}).get("chain")) else "its chain contains something other than tasks"


def _is_storable(argument: object) -> bool:
    """Whether the database accepts the argument. PostgreSQL rejects NUL, and a JSON number has no upper limit."""
    if isinstance(argument, str):
        return "\0" not in argument
    return not isinstance(argument, int) or abs(argument) < _INTEGER_LIMIT


def _is_chain(links: object) -> bool:
    return links is None or (
        isinstance(links, list) and all(isinstance(link, dict) and isinstance(link.get("task"), str) for link in links)
    )


def _are_time_limits(limits: object) -> bool:
    """Whether these are valid time limits: none at all, or a pair of numbers or nulls such as `[null, null]`."""
    if not isinstance(limits, list):
        return limits is None
    return len(limits) == 2 and all(isinstance(limit, int | float | None) for limit in limits)


def shortened(name: object) -> str:
    """Return a short ASCII form of any object, for the log."""
    shown = ascii(name)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[:_LONGEST_NAME]}…"
