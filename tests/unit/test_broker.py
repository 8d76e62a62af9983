"""The way to Redis: as quick as it can be, and called by its name."""

import os
import uuid
from typing import Any, Final

import pytest
import redis
from pydantic import SecretStr

from reelq.broker import Transport
from reelq.dispatch import make_celery
from reelq.settings import Settings

REDIS: Final = os.environ.get("REELQ_TEST_REDIS_URL", "")


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_redis_is_reached_by_our_way_and_told_of_by_its_own_name(scheme: str) -> None:
    address = f"{scheme}://:secret@127.0.0.1:6399/2"
    with make_celery(Settings(reelq_broker_url=SecretStr(address))).connection_for_write() as connection:
        assert isinstance(connection.transport, Transport)
        assert connection.as_uri() == f"{scheme}://:**@127.0.0.1:6399/2"
        assert bool(connection.ssl) == (scheme == "rediss")


@pytest.mark.skipif(not REDIS, reason="no Redis is named")
def test_a_channel_makes_its_client_once_and_anew_for_another_pool() -> None:
    with make_celery(Settings(reelq_broker_url=SecretStr(REDIS))).connection_for_write() as connection:
        channel: Any = connection.channel()
        kept = channel._create_client()
        assert channel._create_client() is kept
        assert channel._create_client(asynchronous=True) is not kept
        channel._disconnect_pools()
        after = channel._create_client()
        assert after is not kept
        assert after.ping()


@pytest.mark.skipif(not REDIS, reason="no Redis is named")
def test_what_is_taken_is_noted_nowhere_and_goes_back_when_its_taker_is_done_with_it() -> None:
    queue = f"taken-{uuid.uuid4().hex}"
    app = make_celery(Settings(reelq_broker_url=SecretStr(REDIS)))
    with redis.Redis.from_url(REDIS) as server:
        notes = {name: server.hlen(name) for name in ("unacked",)}
        try:
            with app.connection_for_write() as connection, connection.SimpleQueue(queue) as line:
                line.put("a message")
                taken = line.get(timeout=5)
                assert taken.payload == "a message"
                assert {name: server.hlen(name) for name in notes} == notes
                assert server.llen(queue) == 0
            assert server.llen(queue) == 1
        finally:
            server.delete(queue, f"_kombu.binding.{queue}")
