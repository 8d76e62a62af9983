"""Celery's consumer, for a broker that goes away and comes back while stages are at work.

A stage that ends after such a loss acknowledges a message of a connection that is gone. What that raises is no error of
the new connection, yet it would end the worker. A message that can't be acknowledged comes again one day, and is stale.
"""

import logging
from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer as CelerysConsumer

log = logging.getLogger(__name__)


class Consumer(CelerysConsumer):
    """Outlives acknowledgements that do not get through; a broken connection shows when it is read."""

    def call_soon_ack(self, p: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """`p` acknowledges or rejects one message."""
        return super().call_soon_ack(_forgiving(p), *args, **kwargs)  # type: ignore[misc] # the stubs are older

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Closing what is broken can break as well, and is no reason not to connect again."""
        try:
            super().on_connection_error_after_connected(exc)
        except Exception as error:  # noqa: BLE001 - the same
            log.warning("the lost connection to the broker could not be closed in order: %r", error)


def _forgiving(act: Callable[..., Any]) -> Callable[..., None]:
    def attempt(*args: Any, **kwargs: Any) -> None:
        try:
            act(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - which ones there are is a matter of where the connection broke
            log.info("a message could not be acknowledged: %r", error)

    return attempt
