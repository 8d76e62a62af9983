"""The way to Redis: as quick as it can be, and called by its name."""

import pytest
from pydantic import SecretStr

from reelq.broker import Transport
from reelq.dispatch import make_celery
from reelq.settings import Settings


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_redis_is_reached_by_our_way_and_told_of_by_its_own_name(scheme: str) -> None:
    address = f"{scheme}://:secret@127.0.0.1:6399/2"
    with make_celery(Settings(reelq_broker_url=SecretStr(address))).connection_for_write() as connection:
        assert isinstance(connection.transport, Transport)
        assert connection.as_uri() == f"{scheme}://:**@127.0.0.1:6399/2"
        assert bool(connection.ssl) == (scheme == "rediss")
