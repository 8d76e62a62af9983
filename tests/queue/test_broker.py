"""The way to Redis, on a real one: one client a channel, and a message that goes back when its taker goes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from reelq.broker import make_celery
from reelq.settings import Settings
from tests.servers import HAS_REDIS, Redis

pytestmark = pytest.mark.skipif(not HAS_REDIS, reason="needs Redis")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    """An empty one."""
    made = Redis(tmp_path)
    yield made
    made.stop()


def test_a_channel_makes_its_client_once_and_anew_for_another_pool(server: Redis) -> None:
    with make_celery(Settings(reelq_broker_url=SecretStr(server.url))).connection_for_write() as connection:
        channel: Any = connection.channel()
        kept = channel._create_client()
        assert channel._create_client() is kept
        assert channel._create_client(asynchronous=True) is not kept
        channel._disconnect_pools()
        after = channel._create_client()
        assert after is not kept
        assert after.ping()


def test_what_is_taken_is_noted_nowhere_and_goes_back_when_its_taker_is_done_with_it(server: Redis) -> None:
    app = make_celery(Settings(reelq_broker_url=SecretStr(server.url)))
    with redis.Redis.from_url(server.url) as asked:
        with app.connection_for_write() as connection, connection.SimpleQueue("taken") as line:
            line.put("a message")
            taken = line.get(timeout=5)
            assert taken.payload == "a message"
            assert asked.hlen("unacked") == 0
            assert asked.llen("taken") == 0
        assert asked.llen("taken") == 1
