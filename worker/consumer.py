"""Celery's consumer, for a broker that goes away and comes back, and for queues that hold what is no message.

A stage that ends after such a loss acknowledges a message of a connection that is gone. What that raises is no error of
the new connection, yet it would end the worker. A message that can't be acknowledged comes again one day, and is stale.

What can't be understood is dropped in a line of the log. The truth is not in it: its row, if it has one, is sent again.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from celery.worker.consumer import Consumer as CelerysConsumer

from worker import strays

log = logging.getLogger(__name__)

_GATHERED: Final = 0.2
"""Seconds."""
_LOOKS: Final = 100


class Consumer(CelerysConsumer):
    """Outlives acknowledgements that do not get through and strays; a broken connection shows when it is read."""

    hub: Any
    _flush_events: Callable[[], None]
    strategies: dict[str, Any]
    controller: Any
    connection_errors: tuple[type[Exception], ...]

    _gathers_until = 0.0

    def on_send_event_buffered(self) -> None:  # type: ignore[override] # the stubs have it return something
        """Events for those who watch go out together, a few times a second; each by itself costs as much as a task."""
        now = time.monotonic()
        if self.hub and now >= self._gathers_until:
            self._gathers_until = now + _GATHERED
            self.hub.call_soon(self.hub.call_later, _GATHERED, self._flush_events)

    def call_soon_ack(self, p: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """`p` acknowledges or rejects one message."""
        return super().call_soon_ack(_forgiving(p), *args, **kwargs)  # type: ignore[misc] # the stubs are older

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Closing what is broken can break as well, and is no reason not to connect again."""
        log.warning("the broker is away: messages come again when it is back", extra={"away": "broker"})
        try:
            super().on_connection_error_after_connected(exc)
        except Exception as error:  # noqa: BLE001 - the same
            log.warning("the lost connection to the broker could not be closed in order: %r", error)

    def on_close(self) -> None:
        """Celery forgets what came over the lost connection: it goes through sets that threads of the pool change."""
        for left in reversed(range(_LOOKS)):
            try:
                super().on_close()
            except RuntimeError:  # "Set changed size during iteration" would be the end of the worker
                if not left:
                    raise
            else:
                return

    def connection_for_read(self, heartbeat: Any = None) -> Any:
        """A connection to which what is not even a message does no harm."""
        connection: Any = super().connection_for_read(heartbeat)
        transport = connection.transport
        # Read before it is known to be a message: from the text, then from what the text describes.
        if hasattr(transport, "on_readable"):
            transport.on_readable = self._dropping(transport.on_readable, only=ValueError)
        if hasattr(transport, "_deliver"):
            transport._deliver = self._dropping(transport._deliver)  # noqa: SLF001 - there is no other door
        return connection

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """What deals with a message."""
        take = super().create_task_handler(*args, **kwargs)

        def deal(message: Any) -> None:
            why = strays.why_not(message, self.strategies)
            try:
                if not why:
                    # Refused, it would be refused for hours, however often its row is sent. Rows are cancelled by us.
                    self.controller.state.revoked.discard(message.headers["id"])
                    take(message)
            except Exception as error:
                if self._is_broken(error):
                    raise
                why = f"it can't be dealt with: {strays.shortened(error)}"
            if why:
                self._drop(message, why)

        return deal

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """It says that it is compressed, and is not."""
        self._drop(message, f"its body can't be read ({type(exc).__name__})")

    def _drop(self, message: Any, why: str) -> None:
        name = strays.shortened(message.headers.get("id"))
        log.warning("a message is dropped (its id is %s): %s", name, why)
        if not message.acknowledged:
            message.reject_log_error(log, self.connection_errors)

    def _dropping(self, act: Callable[..., Any], only: type[Exception] = Exception) -> Callable[..., Any]:
        def attempt(*args: Any, **kwargs: Any) -> Any:
            try:
                return act(*args, **kwargs)
            except only as error:
                if self._is_broken(error):
                    raise
                log.warning("what is no message is dropped from the queue: %s", strays.shortened(error))

        return attempt

    def _is_broken(self, error: Exception) -> bool:
        """Whether the connection is to blame. Celery takes every missing key for that too, as in a text without any."""
        return isinstance(error, self.connection_errors) and not isinstance(error, LookupError)


def _forgiving(act: Callable[..., Any]) -> Callable[..., None]:
    def attempt(*args: Any, **kwargs: Any) -> None:
        try:
            act(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - which ones there are is a matter of where the connection broke
            log.info("a message could not be acknowledged: %r", error)

    return attempt
