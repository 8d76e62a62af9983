"""Checks of what is reached over the network: broker, workers, Flower, the reelq service, NemoVideo."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import redis
from kombu import Connection

from reelq import errors
from reelq.broker import make_celery
from reelq.cli.backends.http.client import Service, in_the_clear, service_at
from reelq.cli.doctor.findings import CheckContext, Finding, ok, warning, wrong
from reelq.cli.doctor.local import check_clock
from reelq.cli.estimate import attribution_headers, read_account
from reelq.cli.views.text import without_password
from reelq.errors import ReelqError, ServiceAway, SettingsError
from reelq.nemo.probe import FailureStep, ProbeResult, Unreachable, look
from reelq.settings import Settings
from reelq.store.queries.account import AccountState
from worker import flower_access

_BROKER_SECONDS: Final = 3
_REDIS_SCHEMES: Final = ("redis://", "rediss://", "unix://")
_BROKER_ADVICE: Final = (
    "Start it, or correct REELQ_BROKER_URL (redis://HOST:6379/0); without it, this machine runs the work itself."
)
_NEMO_SECONDS: Final = 3.0
_NEMO_ADVICE: Final = {
    FailureStep.NAME: "The host name can't be resolved: check NEMO_API_URL, the network and DNS.",
    FailureStep.CERTIFICATE: "If a proxy of your network intercepts TLS, set SSL_CERT_FILE to its certificate.",
    FailureStep.PROXY: "Check HTTPS_PROXY, or put the service's host into NO_PROXY.",
    FailureStep.TIME: "Check the network, firewall and proxy (HTTPS_PROXY); is NEMO_API_URL right?",
    FailureStep.CONNECTION: "Check the network and firewall; is NEMO_API_URL right?",
}


def check_broker(context: CheckContext) -> Iterator[Finding]:
    """Check that the broker answers and does not drop messages, and that workers answer."""
    broker_url = context.settings.reelq_broker_url
    if broker_url is None:
        yield ok("broker", "not set: this machine runs the work itself")
        return
    url = broker_url.get_secret_value()
    if reason := broker_error(url):
        yield wrong("broker", f"{without_password(url)} can't be used: {reason}", _BROKER_ADVICE)
        return
    yield ok("broker", f"{without_password(url)} answers")
    if policy := _eviction_policy(url):
        what = f"this Redis drops messages when its memory is full ({policy})"
        advice = "until then, rows whose messages are dropped are delayed, but not lost"
        yield warning("broker", what, f"Set maxmemory-policy to noeviction; {advice}.")
    yield _check_workers(context)


def broker_error(url: str) -> str:
    """Why the broker can't be reached, else an empty string."""
    if url.startswith("memory:"):
        return "it works within one process only"
    try:
        if url.startswith(_REDIS_SCHEMES):
            with _redis_client(url) as client:
                client.ping()
        else:
            with Connection(url, connect_timeout=_BROKER_SECONDS) as connection:
                connection.ensure_connection(max_retries=1, timeout=_BROKER_SECONDS)
    except ValueError:  # its message would repeat a part of the address, which may be the password
        return (
            "it is not a valid URL; use redis://NAME:PASSWORD@HOST:6379/0, "
            "with / # and @ in the password written as %2F %23 %40"
        )
    except Exception as error:  # noqa: BLE001 - each transport has its own exceptions
        first_line = next(iter(str(error).strip().splitlines()), "").rstrip(".") or type(error).__name__
        return first_line.replace(url, without_password(url))
    return ""


def _redis_client(url: str) -> Any:
    return redis.Redis.from_url(url, socket_connect_timeout=_BROKER_SECONDS, socket_timeout=_BROKER_SECONDS, retry=None)


def _eviction_policy(url: str) -> str:
    if not url.startswith(_REDIS_SCHEMES):
        return ""
    try:
        with _redis_client(url) as client:
            memory = client.info("memory")
    except redis.RedisError:  # this user may lack the permission
        return ""
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    return policy if memory.get("maxmemory") and policy != "noeviction" else ""


def _check_workers(context: CheckContext) -> Finding:
    answers = make_celery(context.settings).control.ping(timeout=1.0) or []
    if answers:
        return ok("workers", f"{len(answers)} {'responds' if len(answers) == 1 else 'respond'}")
    advice = "Start some with `reelq up`, or `celery -A worker worker` on each worker machine."
    return warning("workers", "none responds: submitted rows stay queued", advice)


def check_flower(context: CheckContext) -> Iterator[Finding]:
    """Check that Flower needs a password unless only this machine reaches it: it shows every row."""
    if context.settings.reelq_broker_url is None:
        return
    if fault := flower_access.refusal(context.environment):
        yield wrong("flower", f"it will not start: {fault}", f"{flower_access.ADVICE}.")
    elif flower_access.has_password(context.environment):
        yield ok("flower", "asks for a password")
    else:
        yield ok("flower", "reachable from this machine only, without a password")


def check_reelq_service(context: CheckContext) -> Iterator[Finding]:
    """Check that the reelq service accepts the key and is ready."""
    address = context.settings.reelq_api_url
    if address is None:
        if context.settings.reelq_api_key is not None:
            what = "REELQ_API_KEY is set, but REELQ_API_URL is not"
            yield warning("reelq service", what, "Set both, or unset the key.")
        return
    try:
        with service_at(address, context.settings, warn=False) as service:
            if in_the_clear(address):
                what = f"the key and your files go to {without_password(address)} unencrypted"
                advice = "Use https://; the operator has to put a TLS proxy in front of the service."
                yield warning("reelq service", what, advice)
            service.get("/v1/batches", limit=1)
            yield ok("reelq service", f"{without_password(address)} answers, and accepts the key")
            yield from _check_readiness(service, address)
    except ReelqError as error:
        yield wrong("reelq service", str(error), error.advice)


def _check_readiness(service: Service, address: str) -> Iterator[Finding]:
    try:
        service.get("/readyz")
    except ServiceAway as unavailable:
        advice = f"The operator of {without_password(address)} has to fix this; rows wait meanwhile."
        yield warning("reelq service", str(unavailable), advice)
    except SettingsError:  # some operators don't expose that route
        return


def check_nemo(context: CheckContext) -> Iterator[Finding]:
    """Check NemoVideo, the token, the credits and the clock with a single request."""
    settings = context.settings
    account, token = read_account(settings)
    address = f"{without_password(settings.nemo_api_url)}{_proxy_note(settings.nemo_api_url)}"
    try:
        answer = look(settings, attribution_headers(settings), token, _NEMO_SECONDS)
    except Unreachable as error:
        yield wrong("service", f"{address} can't be reached: {error}", _NEMO_ADVICE[error.trouble])
    else:
        yield _service_finding(address, answer)
        if answer.skew is not None:
            yield from check_clock(answer.skew, "the service's")
        if token is not None:
            yield from _token_findings(settings, answer, account)
    if token is None and "NEMO_TOKEN" not in context.wrong:
        state = "none available" if account else "none yet"
        yield ok("token", f"{state}: the next run requests a free one (doctor does not)")
    if account and account.parked:
        what = f"rows wait: {account.parked_why or account.parked}"
        yield warning("account", what, "`reelq resume BATCH` tries again.")


def _proxy_note(url: str) -> str:
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or not parts.hostname or proxy_bypass(parts.hostname):
        return ""
    return f" (through {without_password(proxy)})"


def _service_finding(address: str, answer: ProbeResult) -> Finding:
    match answer.refusal:
        case None | errors.TokenRefused() | errors.CreditsExhausted() | errors.PlanRequired():
            return ok("service", f"{address} answers ({answer.seconds * 1000:.0f} ms)")
        case errors.RateLimited():
            what = f"{address} is rate limiting requests (429)"
            return warning("service", what, "Wait a minute; reelq backs off by itself.")
        case errors.ServerTrouble() as trouble:
            what = f"{address} returned an error: {trouble}"
            return warning("service", what, "Wait a minute; rows in progress are retried.")
        case errors.Unintelligible() | errors.Rejected():
            what = f"{address} responds, but not like NemoVideo: {answer.refusal}"
            return wrong("service", what, "Correct NEMO_API_URL, or check for a proxy or login page in between.")
        case other:
            return warning("service", f"{address}: {other}", other.advice or "Try again in a minute.")


def _token_findings(settings: Settings, answer: ProbeResult, account: AccountState | None) -> Iterator[Finding]:
    own = settings.nemo_token is not None
    name = "NEMO_TOKEN" if own else "the free token"
    if isinstance(answer.refusal, errors.TokenRefused):
        yield _refused_token(settings, account)
    elif answer.balance is not None:
        ends = account.token_ends_at if account and not own else None
        yield ok("token", f"the service accepts {name}{f', until {_format_time(ends)}' if ends else ''}")
        yield _credits_finding(answer.balance.available, answer.balance.frozen, account)
    elif isinstance(answer.refusal, errors.CreditsExhausted):
        yield _credits_finding(0, 0, account)
    elif isinstance(answer.refusal, errors.PlanRequired):
        yield warning("credits", str(answer.refusal), answer.refusal.advice)


def _refused_token(settings: Settings, account: AccountState | None) -> Finding:
    if settings.nemo_token is not None:
        advice = "Replace it with a valid one, or unset it to use the free account."
        return wrong("token", "the service does not accept NEMO_TOKEN", advice)
    ends = account.token_ends_at if account else None
    if ends and ends > datetime.now(UTC):
        what = f"the service does not accept the free token, which should last until {_format_time(ends)}"
        return warning("token", what, "The next run requests a new one; if that is refused too, register.")
    what = f"the free token has expired{f' ({_format_time(ends)})' if ends else ''}"
    return warning("token", what, "The next run requests a new one; to keep an account, register.")


def _credits_finding(available: int, frozen: int, account: AccountState | None) -> Finding:
    amounts = f"{available:,} available" + (f", {frozen:,} set aside for work in progress" if frozen else "")
    if available > 0:
        return ok("credits", amounts)
    link = f"Register: {account.link}" if account and account.link else ""
    return warning("credits", amounts, link or "Top up; rows wait and continue by themselves.")


def _format_time(moment: datetime) -> str:
    return moment.astimezone().strftime("%d %b %Y %H:%M")
