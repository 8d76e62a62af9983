"""Whether the process lives, and whether it can serve: for whoever starts it and balances load."""

import redis

from api.problems import Problem
from api.schemas import Alive
from api.service import Here, Service
from reelq.errors import SettingsError
from reelq.store import schema
from reelq.store.session import is_broken

_SECONDS = 3
_AGAIN = {"Retry-After": "5"}


async def healthz() -> Alive:
    """The process lives."""
    return Alive()


def readyz(here: Here) -> Alive:
    """Requests can be served: the database is there in the version that is needed, and so is the broker."""
    missing = [told for told in (_database(here), _broker(here)) if told]
    if missing:
        raise Problem(503, "not_ready", "; ".join(missing), headers=_AGAIN, missing=missing)
    return Alive()


def _database(here: Service) -> str:
    try:
        current = schema.is_current(here.store)
    except Exception as error:
        if not is_broken(error):
            raise
        return "the database does not answer"
    return "" if current else "the database has another version than this program; `reelq db upgrade` migrates it"


def _broker(here: Service) -> str:
    url = here.settings.reelq_broker_url
    if url is None:
        return ""
    try:
        with redis.Redis.from_url(
            url.get_secret_value(), socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS
        ) as it:
            it.ping()
    except (redis.RedisError, OSError, ValueError, SettingsError):
        return "the broker does not answer"
    return ""
