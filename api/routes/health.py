"""Health checks for process managers and load balancers."""

import redis

from api.deps import Here, Service
from api.errors import Problem
from api.schemas import Alive
from reelq.errors import SettingsError
from reelq.store.db import migrations
from reelq.store.db.engine import is_broken

_TIMEOUT_SECONDS = 3
_RETRY_AFTER = {"Retry-After": "5"}


async def healthz() -> Alive:
    """The process is running."""
    return Alive()


def readyz(here: Here) -> Alive:
    """The process can serve requests: the database answers and has the right version, and the broker answers."""
    missing = [problem for problem in (_database(here), _broker(here)) if problem]
    if missing:
        raise Problem(503, "not_ready", "; ".join(missing), headers=_RETRY_AFTER, missing=missing)
    return Alive()


def _database(here: Service) -> str:
    try:
        current = migrations.is_current(here.store)
    except Exception as error:
        if not is_broken(error):
            raise
        return "the database does not respond"
    return "" if current else "the database schema does not match this program; run `reelq db upgrade`"


def _broker(here: Service) -> str:
    url = here.settings.reelq_broker_url
    if url is None:
        return ""
    try:
        with redis.Redis.from_url(
            url.get_secret_value(), socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS
        ) as client:
            client.ping()
    except (redis.RedisError, OSError, ValueError, SettingsError):
        return "the broker does not respond"
    return ""
