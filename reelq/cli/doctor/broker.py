"""The broker, who listens to it, and Flower, which shows it."""

from collections.abc import Iterator
from typing import Any, Final

import redis
from kombu import Connection

from reelq.cli.doctor.finding import Finding, Patient, ok, warning, wrong
from reelq.cli.wording import masked
from reelq.dispatch import make_celery
from worker import visitors

ABOUT: Final = "broker"
_SECONDS: Final = 3
_REDIS: Final = ("redis://", "rediss://", "unix://")
_MEND: Final = "Start it, or correct REELQ_BROKER_URL (redis://HOST:6379/0); unset, this machine works by itself."


def check_broker(patient: Patient) -> Iterator[Finding]:
    """Whether it answers, and keeps what it is given."""
    told = patient.settings.reelq_broker_url
    if told is None:
        yield ok(ABOUT, "none is set: this machine works by itself")
        return
    url = told.get_secret_value()
    if why := unreachable(url):
        yield wrong(ABOUT, f"{masked(url)} can't be used: {why}", _MEND)
        return
    yield ok(ABOUT, f"{masked(url)} answers")
    if evicts := _evicts(url):
        mend = "Set maxmemory-policy to noeviction; until then rows whose messages it drops are only late."
        yield warning(ABOUT, f"this Redis drops messages when its memory is full ({evicts})", mend)
    yield _workers(patient)


def unreachable(url: str) -> str:
    """Why nothing can be sent there; empty where something can."""
    if url.startswith("memory:"):
        return "it exists within one process only"
    try:
        if url.startswith(_REDIS):
            with _redis(url) as client:
                client.ping()
        else:
            with Connection(url, connect_timeout=_SECONDS) as connection:
                connection.ensure_connection(max_retries=1, timeout=_SECONDS)
    except ValueError:  # its words would repeat a part of the address, which may be the password
        return "it is no address; write redis://NAME:PASSWORD@HOST:6379/0, with / # and @ in a password as %2F %23 %40"
    except Exception as error:  # noqa: BLE001 - each transport has exceptions of its own
        return _words(error).replace(url, masked(url))
    return ""


def _redis(url: str) -> Any:
    return redis.Redis.from_url(url, socket_connect_timeout=_SECONDS, socket_timeout=_SECONDS, retry=None)


def _words(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "").rstrip(".") or type(error).__name__


def _evicts(url: str) -> str:
    if not url.startswith(_REDIS):
        return ""
    try:
        with _redis(url) as client:
            memory = client.info("memory")
    except redis.RedisError:  # a user without permission to ask
        return ""
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    return policy if memory.get("maxmemory") and policy != "noeviction" else ""


def _workers(patient: Patient) -> Finding:
    answers = make_celery(patient.settings).control.ping(timeout=1.0) or []
    if answers:
        return ok("workers", f"{len(answers)} {'answers' if len(answers) == 1 else 'answer'}")
    mend = "Start some with `reelq up`, or `celery -A worker worker` on the machines that are to work."
    return warning("workers", "none answers: rows that are submitted wait until there is one", mend)


def check_flower(patient: Patient) -> Iterator[Finding]:
    """Who sees Flower sees every row, so others than this machine are asked for a password."""
    if patient.settings.reelq_broker_url is None:
        return
    if fault := visitors.refusal(patient.environment):
        yield wrong("flower", f"it does not start: {fault}", f"{visitors.MEND}.")
    elif visitors.has_password(patient.environment):
        yield ok("flower", "asks for a password")
    else:
        yield ok("flower", "this machine alone reaches it, and sees every row without a password")
