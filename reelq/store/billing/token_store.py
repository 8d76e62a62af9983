"""The token of an account: kept in the database for all processes, and renewed by one of them at a time."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from pydantic import SecretStr
from sqlalchemy import update

from reelq.errors import TokenQuota, TokenRefused
from reelq.job import Cause
from reelq.nemo.identity import Token
from reelq.nemo.types import Grant
from reelq.store.billing.single_flight import SingleFlight, backoff, claim, release
from reelq.store.billing.throttling import block, park, record_token_quota
from reelq.store.db.engine import Store, Transaction, is_unavailable
from reelq.store.db.models import Account, AccountKind
from reelq.store.db.statements import execute_dml
from reelq.store.db.vault import Vault

REFRESH_SECONDS: Final = 120.0
"""How long a claim to request a token lasts: longer than any request, or two could overlap."""

_RETRY_PAUSE: Final = 0.5


class StoreTokens:
    """The token of one account, shared by all threads, processes and machines.

    However many of them have it refused at once, it is renewed once.
    """

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
        """`ask` requests a free token for a client id; `quota_wait` is how long to wait after its first 429."""
        self._store = store
        self._vault = vault
        self._account_id = account_id
        self._ask = ask
        self._quota_wait = quota_wait
        self._claim_seconds = claim_seconds
        self._flight: SingleFlight[Token] = SingleFlight()
        self._token: Token | None = None

    def current(self) -> Token:
        """The current token; it is requested first if there is none yet."""
        return self._token or self._newer_than(0)

    def renew(self, refused: Token) -> Token:
        """A token newer than the refused one. One request serves all callers, in whichever process they are."""
        return self._newer_than(refused.version)

    def _newer_than(self, version: int) -> Token:
        token = self._token
        while token is None or token.version <= version:
            token = self._flight.do(lambda: self._obtain(version))
        return token

    def _obtain(self, version: int) -> Token:
        """Return a newer token from the database, or request one; wait while another process is requesting it."""
        pause = backoff()
        while True:
            with self._store.write() as session:
                account = session.get_one(Account, self._account_id)
                if account.token is not None and account.token_version > version:
                    self._token = Token(self._vault.unlock(account.token), account.token_version)
                    return self._token
                claimed_until = self._claim(session, account)
            if claimed_until:
                return self._fetch(account.client_id or "", version + 1, claimed_until)
            time.sleep(next(pause))

    def _claim(self, session: Transaction, account: Account) -> datetime | None:
        now = self._store.now(session)
        _check_renewable(account, now)
        unchanged = (
            Account.token_version == account.token_version,
            Account.quota_met == account.quota_met,
            Account.parked.is_not_distinct_from(account.parked),
        )
        return claim(session, account.id, Account.refreshing_until, now, self._claim_seconds, *unchanged)

    def _fetch(self, client: str, version: int, claimed_until: datetime) -> Token:
        try:
            grant = self._ask(client)
        except TokenQuota:
            self._handle_quota(claimed_until)
            raise
        except BaseException:
            with self._store.write() as session:
                release(session, self._account_id, Account.refreshing_until, claimed_until)
            raise
        return self._save(grant, version)

    def _handle_quota(self, claimed_until: datetime) -> None:
        """Block the account after a first 429, and park it after a second.

        The first may only mean too many requests in a row. A second one after the wait means that the quota of seven
        days is used up.
        """
        with self._store.write() as session:
            if not release(session, self._account_id, Account.refreshing_until, claimed_until):
                return  # the claim had expired: another process has asked since, and its answer is newer
            now = self._store.now(session)
            if record_token_quota(session, self._account_id):
                block(session, self._account_id, now, self._quota_wait, extend=True)
            else:
                park(session, self._account_id, Cause.TOKEN, f"{TokenQuota()} {TokenQuota.advice}", now)

    def _save(self, grant: Grant, version: int) -> Token:
        """Store the token for all processes.

        The service does not give it a second time, so this retries while the database is unavailable.
        """
        self._token = token = Token(SecretStr(grant.token), version)
        deadline = time.monotonic() + self._claim_seconds
        while True:
            try:
                return token if self._write(grant, token) else self._obtain(version - 1)
            except Exception as error:
                if not is_unavailable(error) or time.monotonic() > deadline:
                    raise
            time.sleep(_RETRY_PAUSE)

    def _write(self, grant: Grant, token: Token) -> bool:
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
            return execute_dml(session, update(Account).where(*older).values(**values)) == 1


def _check_renewable(account: Account, now: datetime) -> None:
    """Raise if no new token can be requested: the token is the user's own, or the quota has been met."""
    if account.kind is AccountKind.OWN:
        raise TokenRefused("The service does not accept NEMO_TOKEN")
    parked_until = account.parked_until if account.parked is Cause.TOKEN else None
    if account.quota_met and any(until and until > now for until in (account.blocked_until, parked_until)):
        raise TokenQuota
