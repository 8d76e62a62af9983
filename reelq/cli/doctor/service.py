"""The remote service: the way there, its clock, and what the token at hand is good for. None is asked for."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from pydantic import SecretStr

from reelq import errors
from reelq.cli.asking import attribution
from reelq.cli.doctor.database import SKEW_SECONDS, skewed
from reelq.cli.doctor.finding import Finding, Patient, ok, warning, wrong
from reelq.cli.wording import masked
from reelq.remote.probe import Seen, Trouble, Unreached, look
from reelq.settings import Settings
from reelq.store.looking import looking
from reelq.store.standing import Standing, standing, token_at_hand

ABOUT: Final = "service"
_SECONDS: Final = 3.0
_MENDS: Final = {
    Trouble.NAME: "No such name is known: check NEMO_API_URL for a slip, and this machine's network and DNS.",
    Trouble.CERTIFICATE: "If a proxy of your network opens TLS, set SSL_CERT_FILE to its certificate.",
    Trouble.PROXY: "Check HTTPS_PROXY, or put the service's host into NO_PROXY.",
    Trouble.TIME: "Check the network, firewall and proxy (HTTPS_PROXY); is NEMO_API_URL right?",
    Trouble.CONNECTION: "Check the network and firewall; is NEMO_API_URL right?",
}


def check_service(patient: Patient) -> Iterator[Finding]:
    """One request, and all that it tells."""
    settings = patient.settings
    known, token = _at_hand(settings)
    where = f"{masked(settings.nemo_api_url)}{_through(settings.nemo_api_url)}"
    try:
        seen = look(settings, attribution(settings), token, _SECONDS)
    except Unreached as error:
        yield wrong(ABOUT, f"{where} can't be reached: {error}", _MENDS[error.trouble])
    else:
        yield _service(where, seen)
        if seen.skew is not None and abs(seen.skew) > SKEW_SECONDS:
            yield skewed(seen.skew, "the service's")
        if token is not None:
            yield from _token(settings, seen, known)
    if token is None and "NEMO_TOKEN" not in patient.wrong:
        yield _none_yet(known)
    if known and known.parked:
        yield warning("account", f"rows wait: {known.parked_why or known.parked}", "`reelq resume BATCH` tries again.")


def _at_hand(settings: Settings) -> tuple[Standing | None, SecretStr | None]:
    """The database's own troubles are told by its own check."""
    known, token = None, settings.nemo_token
    with suppress(Exception), looking(settings) as store:
        if store is not None:
            known = standing(store, settings)
            token = token_at_hand(store, settings)
    return known, token


def _through(url: str) -> str:
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or not parts.hostname or proxy_bypass(parts.hostname):
        return ""
    return f" (through {masked(proxy)})"


def _service(where: str, seen: Seen) -> Finding:
    match seen.refusal:
        case None | errors.TokenRefused() | errors.CreditsExhausted() | errors.PlanRequired():
            return ok(ABOUT, f"{where} answers ({seen.seconds * 1000:.0f} ms)")
        case errors.RateLimited():
            return warning(ABOUT, f"{where} asks for fewer requests (429)", "Wait a minute; reelq holds off by itself.")
        case errors.ServerTrouble() as trouble:
            return warning(ABOUT, f"{where} is in trouble: {trouble}", "Wait; rows that are under way are tried again.")
        case errors.Unintelligible() | errors.Rejected():
            what = f"something answers at {where}, but not as the service does: {seen.refusal}"
            return wrong(
                ABOUT, what, "Correct NEMO_API_URL; or a proxy or a login page of your network stands in between."
            )
        case _:
            return warning(ABOUT, f"{where}: {seen.refusal}", seen.refusal.advice or "Try again in a minute.")


def _token(settings: Settings, seen: Seen, known: Standing | None) -> Iterator[Finding]:
    own = settings.nemo_token is not None
    name = "NEMO_TOKEN" if own else "the free token"
    if isinstance(seen.refusal, errors.TokenRefused):
        yield _refused(settings, known)
    elif seen.balance is not None:
        until = f", until {_day(known.token_ends_at)}" if not own and known and known.token_ends_at else ""
        yield ok("token", f"the service accepts {name}{until}")
        yield _credits(seen.balance.available, seen.balance.frozen, known)
    elif isinstance(seen.refusal, errors.CreditsExhausted):
        yield _credits(0, 0, known)
    elif isinstance(seen.refusal, errors.PlanRequired):
        yield warning("credits", str(seen.refusal), seen.refusal.advice)


def _refused(settings: Settings, known: Standing | None) -> Finding:
    if settings.nemo_token is not None:
        mend = "Replace it by a valid one, or unset it to work with the free account."
        return wrong("token", "the service does not accept NEMO_TOKEN", mend)
    ends = known.token_ends_at if known else None
    if ends and ends > datetime.now(UTC):
        what = f"the service does not accept the free token, which should last until {_day(ends)}"
        return warning("token", what, "A new one is asked for when work begins; if that is refused too, register.")
    what = f"the free token has expired{f' ({_day(ends)})' if ends else ''}"
    return warning("token", what, "A new one is asked for when work begins; to keep an account, register.")


def _none_yet(known: Standing | None) -> Finding:
    if known is None:
        return ok("token", "none yet: a free one is asked for when work begins (doctor does not use it up)")
    return ok("token", "none at hand: a free one is asked for when work begins (doctor does not use it up)")


def _credits(available: int, frozen: int, known: Standing | None) -> Finding:
    told = f"{available:,} available" + (f", {frozen:,} set aside for work in progress" if frozen else "")
    if available > 0:
        return ok("credits", told)
    mend = f"Register: {known.link}" if known and known.link else "Top up; rows wait meanwhile and go on by themselves."
    return warning("credits", told, mend)


def _day(moment: datetime) -> str:
    return moment.astimezone().strftime("%d %b %Y %H:%M")
