"""Kombu's way to Redis, with a client made once: it makes one for each command, which takes as long as the command."""

from typing import Any

from kombu.transport import redis


class Channel(redis.Channel):
    """Keeps the client of its pool of connections. It holds nothing of its own, and threads can share it."""

    _kept: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc] # there are no stubs of it
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()  # type: ignore[misc]
        return self._kept


class Transport(redis.Transport):
    """For addresses that begin with `redis://` or `rediss://`."""

    Channel = Channel
