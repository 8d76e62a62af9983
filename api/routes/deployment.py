"""The deployment: its health, the account's credits, and the available skills."""

from datetime import timedelta
from typing import Final

import redis

from api.deps import Caller, Here, Service
from api.errors import Problem
from api.schemas import Alive, CreditsShown, SkillsShown, SpentShown
from reelq.errors import SettingsError
from reelq.store.billing import spending
from reelq.store.db import migrations
from reelq.store.db.engine import is_broken
from reelq.store.queries.account import account_state

_TIMEOUT_SECONDS: Final = 3
_RETRY_AFTER: Final = {"Retry-After": "5"}


async def healthz() -> Alive:
    """The process is running."""
    return Alive()


def readyz(here: Here) -> Alive:
    """The process can serve requests: the database answers and has the right version, and the broker answers."""
    missing = [problem for problem in (_database(here), _broker(here)) if problem]
    if missing:
        raise Problem(503, "not_ready", "; ".join(missing), headers=_RETRY_AFTER, missing=missing)
    return Alive()


def show_credits(here: Here, caller: Caller) -> CreditsShown:
    """The balance at its last reading, and what your batches have spent."""
    account = account_state(here.store, here.settings)
    with here.store.read() as session:
        now = here.store.now(session)
        since = {"day": now - timedelta(days=1), "week": now - timedelta(days=7), "all": None}
        spent = {name: spending.of_owner(session, caller.owner, moment) for name, moment in since.items()}
    return CreditsShown(
        balance=account.reading if account else None,
        highest=account.highest if account else 0,
        parked=account.parked if account else None,
        registration_link=(account.link or None) if account else None,
        spent=SpentShown(**spent),
    )


def list_skills(here: Here, caller: Caller) -> SkillsShown:
    """The skills that a row can use."""
    return SkillsShown(items=list(here.skills.values()))


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
