"""Accounts with the service: which one is configured, its token for all who share it, and what holds it back."""

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from pydantic import SecretStr
from sqlalchemy import Select, case, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from reelq.errors import TokenQuota, TokenRefused
from reelq.job import Cause
from reelq.remote.identity import Token, client_id
from reelq.remote.receipts import Grant
from reelq.settings import Settings
from reelq.store.claims import Turns, changed, claim, give_back, pauses
from reelq.store.ids import new_id
from reelq.store.models import Account, AccountKind
from reelq.store.secrets import Vault
from reelq.store.session import Store, Transaction, is_away
from reelq.store.taking import Payer

ANONYMOUS: Final = "anonymous"
"""The credential of the one account per service that lives on free tokens."""
GOES_ON_FREE: Final = "NEMO_TOKEN is refused; the row goes on with the free account of this installation"
QUOTA_PERIOD: Final = timedelta(days=7)
"""The service gives one free token per client in so long."""
REFRESH_SECONDS: Final = 120.0
"""How long a claim to ask for a token lasts: longer than any request, or two would be asking."""

_BY_SCOPE: Final = (Cause.CREDITS, Cause.PLAN, Cause.TOKEN)
"""Each of these holds off all that the one before it does, and more."""
_AWAY_PAUSE: Final = 0.5


def account_for(store: Store, vault: Vault, settings: Settings, *, home: Path | None = None) -> str:
    """The id of the account that is configured now: that of NEMO_TOKEN, else the anonymous one."""
    own = settings.nemo_token
    if own is None:
        return anonymous_for(store, settings, home=home)
    credential = _credential(settings)
    return _kept(store, settings, credential) or _keep(
        store, settings, credential, kind=AccountKind.OWN, token=vault.lock(own), token_version=1
    )


def known_account(store: Store, settings: Settings) -> str | None:
    """The same where it has been in use before, else nothing; nothing is written."""
    return _kept(store, settings, _credential(settings))


def _credential(settings: Settings) -> str:
    own = settings.nemo_token
    return ANONYMOUS if own is None else hashlib.sha256(own.get_secret_value().encode()).hexdigest()


def anonymous_for(store: Store, settings: Settings, *, home: Path | None = None) -> str:
    """The id of the anonymous account. Its client id is asked for once: machines that share a database share it."""
    return _kept(store, settings, ANONYMOUS) or _keep(
        store, settings, ANONYMOUS, kind=AccountKind.ANONYMOUS, client_id=client_id(settings, home)
    )


def _kept(store: Store, settings: Settings, credential: str) -> str | None:
    with store.read() as session:
        return session.execute(_by_credential(settings, credential)).scalar_one_or_none()


def _keep(store: Store, settings: Settings, credential: str, **values: Any) -> str:
    with suppress(IntegrityError), store.write() as session:  # another was first: then it is that one's
        row: dict[str, Any] = {"id": new_id("acc"), "service_url": settings.nemo_api_url, "credential": credential}
        row |= {"window": settings.reelq_max_in_flight, "created_at": store.now(session)}
        session.execute(insert(Account).values(**row, **values))
    with store.read() as session:
        return session.execute(_by_credential(settings, credential)).scalar_one()


def _by_credential(settings: Settings, credential: str) -> Select[str]:
    return select(Account.id).where(Account.service_url == settings.nemo_api_url, Account.credential == credential)


def going_on(store: Store, vault: Vault, settings: Settings, *, home: Path | None = None) -> tuple[str, str]:
    """The account that rows go on with which wait and have sent nothing, and what is said of it: the configured one,
    or the free one where the token of that was refused and the settings allow it."""
    configured = account_for(store, vault, settings, home=home)
    if settings.nemo_token and settings.reelq_anonymous_fallback:
        with store.read() as session:
            refused = session.get_one(Account, configured).parked is Cause.TOKEN
        if refused:
            return anonymous_for(store, settings, home=home), GOES_ON_FREE
    return configured, "another account is configured now; nothing was sent with the old one"


class StoreTokens:
    """The token of one account, for all threads, processes and machines: refused to many, it is renewed once."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        account_id: str,
        ask: Callable[[str], Grant],
        *,
        quota_wait: float = 30.0,
        claim_seconds: float = REFRESH_SECONDS,
    ) -> None:
        """`ask` gets a free token for a client id; `quota_wait` is how long to leave it alone after its first 429."""
        self._store = store
        self._vault = vault
        self._account_id = account_id
        self._ask = ask
        self._quota_wait = quota_wait
        self._claim_seconds = claim_seconds
        self._turns: Turns[Token] = Turns()
        self._token: Token | None = None

    def current(self) -> Token:
        """The token to use now, asked for first where there is none yet."""
        return self._token or self._newer_than(0)

    def renew(self, refused: Token) -> Token:
        """A token newer than the refused one; one request for all who need it, whichever process they are in."""
        return self._newer_than(refused.version)

    def _newer_than(self, version: int) -> Token:
        token = self._token
        while token is None or token.version <= version:
            token = self._turns.take(lambda: self._obtain(version))
        return token

    def _obtain(self, version: int) -> Token:
        """The newer token that somebody has put into the database; else ask, unless somebody is asking: then wait."""
        pause = pauses()
        while True:
            with self._store.write() as session:
                account = session.get_one(Account, self._account_id)
                if account.token is not None and account.token_version > version:
                    self._token = Token(self._vault.unlock(account.token), account.token_version)
                    return self._token
                mine = self._claim(session, account)
            if mine:
                return self._fetch(account.client_id or "", version + 1, mine)
            time.sleep(next(pause))

    def _claim(self, session: Transaction, account: Account) -> datetime | None:
        now = self._store.now(session)
        _check_renewable(account, now)
        as_it_was = (
            Account.token_version == account.token_version,
            Account.quota_met == account.quota_met,
            Account.parked.is_not_distinct_from(account.parked),
        )
        return claim(session, account.id, Account.refreshing_until, now, self._claim_seconds, *as_it_was)

    def _fetch(self, client: str, version: int, mine: datetime) -> Token:
        try:
            grant = self._ask(client)
        except TokenQuota:
            self._met_quota(mine)
            raise
        except BaseException:
            with self._store.write() as session:
                give_back(session, self._account_id, Account.refreshing_until, mine)
            raise
        return self._keep(grant, version)

    def _met_quota(self, mine: datetime) -> None:
        """Once may be too many requests in a row; twice, with the wait between them, is the quota of seven days."""
        with self._store.write() as session:
            if not give_back(session, self._account_id, Account.refreshing_until, mine):
                return  # we were so slow that another has asked since, and knows better
            now = self._store.now(session)
            if quota_met(session, self._account_id):
                until = now + timedelta(seconds=self._quota_wait)
                _hold_off(session, self._account_id, until, self._quota_wait, over_by=until)
            else:
                park(session, self._account_id, Cause.TOKEN, f"{TokenQuota()} {TokenQuota.advice}", now)

    def _keep(self, grant: Grant, version: int) -> Token:
        """Put the token where all find it. It can't be had a second time, so a database that is away is waited for."""
        self._token = token = Token(SecretStr(grant.token), version)
        patience = time.monotonic() + self._claim_seconds
        while True:
            try:
                return token if self._put(grant, token) else self._obtain(version - 1)
            except Exception as error:
                if not is_away(error) or time.monotonic() > patience:
                    raise
            time.sleep(_AWAY_PAUSE)

    def _put(self, grant: Grant, token: Token) -> bool:
        with self._store.write() as session:
            values = {
                "token": self._vault.lock(token.secret),
                "token_version": token.version,
                "token_issued_at": self._store.now(session),
                "remote_user_id": grant.user_id or Account.remote_user_id,
                "refreshing_until": None,
                "quota_met": False,
            }
            older = (Account.id == self._account_id, Account.token_version < token.version)
            return changed(session, update(Account).where(*older).values(**values))


def _check_renewable(account: Account, now: datetime) -> None:
    if account.kind is AccountKind.OWN:
        raise TokenRefused("The service does not accept NEMO_TOKEN")
    parked_until = account.parked_until if account.parked is Cause.TOKEN else None
    if account.quota_met and any(until and until > now for until in (account.blocked_until, parked_until)):
        raise TokenQuota


def block(session: Transaction, account_id: str, now: datetime, seconds: float) -> bool:
    """After a 429 all stages hold off; False for one that was met while they do already: it says nothing new."""
    return _hold_off(session, account_id, now + timedelta(seconds=seconds), seconds, over_by=now)


def _hold_off(session: Transaction, account_id: str, until: datetime, seconds: float, *, over_by: datetime) -> bool:
    over = or_(Account.blocked_until.is_(None), Account.blocked_until <= over_by)
    values = {"blocked_until": until, "block_seconds": seconds}
    return changed(session, update(Account).where(Account.id == account_id, over).values(**values))


def note_limited(session: Transaction, account_id: str, now: datetime) -> bool:
    """A 429: half the window, once per block. So it comes before `block`, in the same transaction."""
    open_ = or_(Account.blocked_until.is_(None), Account.blocked_until <= now)
    halved = case((Account.window > 2, Account.window / 2), else_=1.0)
    return changed(session, update(Account).where(Account.id == account_id, open_).values(window=halved))


def note_success(session: Transaction, account: Payer, most: int) -> None:
    """A job came through: the window grows by one in as many successes as it is wide, up to `most`."""
    if account.window == most:  # as mostly: then nobody has to wait for anybody at the account's row
        return
    grown = Account.window + 1.0 / Account.window
    values = {"window": case((grown < most, grown), else_=float(most))}
    changed(session, update(Account).where(Account.id == account.id).values(**values))


def quota_met(session: Transaction, account_id: str) -> bool:
    """The token endpoint answered 429; whether for the first time since the last token, so that one more try is due."""
    first = (Account.id == account_id, Account.quota_met.is_(False))
    return changed(session, update(Account).where(*first).values(quota_met=True))


def park(session: Transaction, account_id: str, cause: Cause, why: str, now: datetime) -> bool:
    """Hold off what this cause holds off, until `unpark`; False where a weightier one does already."""
    lighter = _BY_SCOPE[: _BY_SCOPE.index(cause) + 1]
    where = (Account.id == account_id, or_(Account.parked.is_(None), Account.parked.in_(lighter)))
    values = {"parked": cause, "parked_why": why, "parked_until": _parked_until(session, account_id, cause, now)}
    return changed(session, update(Account).where(*where).values(**values))


def _parked_until(session: Transaction, account_id: str, cause: Cause, now: datetime) -> datetime | None:
    """When the next free token can be had, where that is what is missing; nobody knows when the user will act."""
    query = select(Account.quota_met, Account.token_issued_at).where(Account.id == account_id)
    by_quota, issued = session.execute(query).one()
    if cause is not Cause.TOKEN or not by_quota:
        return None
    # An old token, or none: the quota is that of the network address, and its period can have begun at any time.
    return issued + QUOTA_PERIOD if issued and issued + QUOTA_PERIOD > now else now + QUOTA_PERIOD


def unpark(session: Transaction, account_id: str) -> bool:
    """Nothing is held off any more, and a token may be asked for again; whether anything was."""
    values = {"parked": None, "parked_why": "", "parked_until": None, "probe_job_id": None, "quota_met": False}
    parked = (Account.id == account_id, Account.parked.is_not(None))
    return changed(session, update(Account).where(*parked).values(**values))


def registration_link(account: Account, settings: Settings) -> str:
    """Where an anonymous account becomes a registered one; empty where there is nothing to register, or no id."""
    if account.kind is not AccountKind.ANONYMOUS or not account.remote_user_id:
        return ""
    return f"{settings.nemo_web_url}/register?bind={quote(account.remote_user_id, safe='')}"
