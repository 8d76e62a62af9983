"""One account for all who are configured alike, one request for a fresh token however many need it, none in vain."""

import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from reelq.errors import RemoteError, ServerTrouble, TokenQuota, TokenRefused
from reelq.job import Cause
from reelq.nemo.client import Remote, request_token
from reelq.nemo.identity import CLIENT_ID_FILE, Token
from reelq.nemo.transport import Http, open_http
from reelq.nemo.types import Grant
from reelq.settings import Settings
from reelq.store.billing import accounts, throttling, token_store
from reelq.store.billing.accounts import AccountView
from reelq.store.db.engine import Store
from reelq.store.db.models import Account, AccountKind
from reelq.store.db.vault import Vault
from tests.databases import add_account, change, done, found, on_postgres
from tests.integration.desks import together
from tests.sandbox_process import ATTRIBUTION, SandboxProcess

KEY = "a key for these tests alone"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass
class Free:
    """An account that lives on free tokens, as several processes have it."""

    store: Store
    sandbox: SandboxProcess
    http: Http
    id: str

    def ask(self, client_id: str) -> Grant:
        return request_token(self.http, client_id, ATTRIBUTION)

    def tokens(self, store: Store | None = None, ask: Any = None) -> token_store.StoreTokens:
        """What another process would have: it shares nothing with the next one but the database."""
        return token_store.StoreTokens(store or self.store, Vault(KEY), self.id, ask or self.ask)

    def change(self, **values: Any) -> None:
        change(self.store, Account, self.id, **values)

    @property
    def account(self) -> Account:
        return found(self.store, Account, self.id)

    @property
    def requests(self) -> int:
        return int(self.sandbox.ledger()["requests"].get("token", 0))


@pytest.fixture
def settings(sandbox: SandboxProcess) -> Settings:
    return Settings(nemo_api_url=sandbox.url)


@pytest.fixture
def free(store: Store, sandbox: SandboxProcess, settings: Settings, tmp_path: Path) -> Iterator[Free]:
    with open_http(settings) as http:
        yield Free(store, sandbox, http, accounts.anonymous_for(store, settings, home=tmp_path / "home"))


def test_a_token_of_ones_own_is_one_account_and_renewed_by_nobody(free: Free, settings: Settings) -> None:
    mine, another = (settings.model_copy(update={"nemo_token": SecretStr(f"nmv_usr_{who}")}) for who in ("me", "you"))
    first, again, others = (accounts.account_for(free.store, Vault(KEY), whose) for whose in (mine, mine, another))
    assert first == again != others
    account = found(free.store, Account, first)
    assert (account.kind, account.service_url, account.window) == (AccountKind.OWN, settings.nemo_api_url, 64)
    tokens = token_store.StoreTokens(free.store, Vault(KEY), first, free.ask)
    assert tokens.current() == Token(SecretStr("nmv_usr_me"), 1)
    with pytest.raises(TokenRefused):
        tokens.renew(tokens.current())
    assert free.requests == 0


def test_machines_that_share_a_database_share_its_client_id(store: Store, settings: Settings, tmp_path: Path) -> None:
    ids = {accounts.account_for(store, Vault(KEY), settings, home=tmp_path / machine) for machine in ("one", "two")}
    (account_id,) = ids
    kept = (tmp_path / "one" / CLIENT_ID_FILE).read_text().strip()
    assert found(store, Account, account_id).client_id == kept
    assert not (tmp_path / "two" / CLIENT_ID_FILE).exists()


def test_an_account_is_made_once_by_whoever_is_first(store: Store, settings: Settings, tmp_path: Path) -> None:
    other = Store(store.url)
    stores = iter([store, other] * 8)
    made = together(16, lambda: accounts.anonymous_for(next(stores), settings, home=tmp_path / "home"))
    other.close()
    assert len(set(made)) == 1


def test_forty_threads_of_two_processes_that_meet_a_refused_token_make_one_request(free: Free) -> None:
    other = Store(free.store.url)
    both = [free.tokens(), free.tokens(other)]
    first, second = (tokens.current() for tokens in both)
    assert first == second == both[0].current()
    account = free.account
    assert (account.token_version, account.refreshing_until) == (1, None)
    assert account.remote_user_id.startswith("anon_")
    assert list(free.sandbox.ledger()["token_requests"]) == [account.client_id]
    free.sandbox.reset()  # it knows the token no more, nor who had one
    free.sandbox.faults(slow_answer={"seconds": 0.3, "on": ["token"]})
    remotes = iter([Remote(free.http, tokens, ATTRIBUTION) for tokens in both] * 20)
    balances = together(40, lambda: next(remotes).balance().available, RemoteError)
    other.close()
    assert balances == [100] * 40
    (outcomes,) = free.sandbox.ledger()["token_requests"].values()
    assert [each["outcome"] for each in outcomes] == ["issued"]
    assert free.account.token_version == 2


def test_twenty_that_wait_for_a_token_that_is_refused_by_quota_make_one_request(free: Free) -> None:
    here, there = free.tokens(), free.tokens()
    free.sandbox.faults(token_quota=1.0, slow_answer={"seconds": 0.2, "on": ["token"]})
    processes = iter([here, there] * 10)
    got = together(20, lambda: next(processes).current(), RemoteError)
    assert {type(each) for each in got} == {TokenQuota}
    assert free.requests == 1
    account = free.account
    assert (account.quota_met, account.parked, account.refreshing_until) == (True, None, None)
    assert account.blocked_until
    assert account.block_seconds == 30


def test_a_quota_is_tried_once_more_after_the_wait_and_left_alone_for_seven_days_from_the_issue(free: Free) -> None:
    tokens = free.tokens()
    refused = tokens.current()
    for requests in (2, 2):
        with pytest.raises(TokenQuota):
            tokens.renew(refused)
        assert free.requests == requests
    free.change(blocked_until=NOW)  # the wait is over
    for _ in range(3):
        with pytest.raises(TokenQuota):
            free.tokens().renew(refused)
    assert free.requests == 3
    account = free.account
    assert account.parked is Cause.TOKEN
    assert account.token_issued_at
    assert account.parked_until == account.token_issued_at + timedelta(days=7)


@pytest.mark.parametrize("times", [1, 2])
def test_a_quota_is_forgotten_once_a_token_comes_and_when_the_account_is_let_go_on(free: Free, times: int) -> None:
    free.sandbox.faults(token_quota={"count": times})
    for _ in range(times):
        with pytest.raises(TokenQuota):
            free.tokens().current()
        free.change(blocked_until=NOW)
    if times == 2:
        assert free.account.parked is Cause.TOKEN
        assert done(free.store, throttling.unpark, free.id)
        assert not free.account.quota_met  # the next 429 is a first one again
    assert free.tokens().current().version == 1
    assert (free.account.quota_met, free.account.parked) == (False, None)


def test_a_token_endpoint_that_is_away_is_not_asked_by_each_who_waits_and_the_claim_is_free_again(free: Free) -> None:
    tokens = free.tokens()
    free.sandbox.faults(unavailable={"on": ["token"]}, slow_answer={"seconds": 1, "on": ["token"]})
    got = together(20, tokens.current, RemoteError)
    assert {type(each) for each in got} == {ServerTrouble}
    assert free.requests <= 2
    assert free.account.refreshing_until is None
    free.sandbox.clear_faults()
    assert tokens.current().version == 1


@pytest.mark.parametrize("quota", [False, True])
def test_whoever_was_overtaken_uses_what_the_other_got_even_after_a_429(free: Free, quota: bool) -> None:
    def overtaken(_client_id: str) -> Grant:
        free.change(refreshing_until=NOW)
        free.tokens(ask=lambda _: Grant("nmv_usr_second")).current()
        if quota:
            raise TokenQuota
        return Grant("nmv_usr_first")

    with pytest.raises(TokenQuota) if quota else nullcontext():
        assert free.tokens(ask=overtaken).current() == Token(SecretStr("nmv_usr_second"), 1)
    account = free.account
    assert (account.quota_met, account.blocked_until, account.token_version) == (False, None, 1)


def test_one_who_is_interrupted_while_asking_gives_the_claim_back(free: Free) -> None:
    def interrupted(_client_id: str) -> Grant:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        free.tokens(ask=interrupted).current()
    assert free.account.refreshing_until is None


@on_postgres
def test_a_token_is_kept_though_the_database_was_away_when_it_came(free: Free) -> None:
    def while_away(_client_id: str) -> Grant:
        gone = threading.Event()
        away.append(threading.Thread(target=_away_for, args=(free.store, 1.0, gone)))
        away[0].start()
        gone.wait()
        return Grant("nmv_usr_paid_for_with_seven_days")

    away: list[threading.Thread] = []
    token = free.tokens(ask=while_away).current()
    away[0].join()
    assert free.tokens().current() == token
    assert free.account.refreshing_until is None


def _away_for(store: Store, seconds: float, gone: threading.Event) -> None:
    """The server takes no connections, and ends those that there are."""
    name = store.url.database
    engine = create_engine(store.url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"))
        gone.set()
        time.sleep(seconds)
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    engine.dispose()


@pytest.mark.parametrize("own_store", ["sqlite"], indirect=True)
def test_no_token_can_be_read_in_the_database(own_store: Store, settings: Settings, tmp_path: Path) -> None:
    own = settings.model_copy(update={"nemo_token": SecretStr("nmv_usr_mine")})
    accounts.account_for(own_store, Vault(KEY), own)
    free = accounts.anonymous_for(own_store, settings, home=tmp_path / "home")
    token_store.StoreTokens(own_store, Vault(KEY), free, lambda _: Grant("nmv_usr_free")).current()
    kept = b"".join(file.read_bytes() for file in Path(str(own_store.url.database)).parent.glob("reelq.db*"))
    assert b"nmv_usr" not in kept
    assert settings.nemo_api_url.encode() in kept  # the search would find what is there


def test_a_block_holds_until_its_end_and_stragglers_neither_lengthen_nor_halve_again(store: Store) -> None:
    with store.write() as session:
        account_id = add_account(session, NOW, window=64)
        for late in range(5):
            now = NOW + timedelta(seconds=late)
            assert throttling.halve_window(session, account_id, now) is (late == 0)
            assert throttling.block(session, account_id, now, 30) is (late == 0)
    account = found(store, Account, account_id)
    assert (account.blocked_until, account.block_seconds) == (NOW + timedelta(seconds=30), 30)
    assert account.window == 32
    with store.write() as session:
        now = NOW + timedelta(seconds=30)
        assert throttling.halve_window(session, account_id, now)
        assert throttling.block(session, account_id, now, 60)
    account = found(store, Account, account_id)
    assert (account.window, account.blocked_until) == (16, NOW + timedelta(seconds=90))
    with store.write() as session:
        assert all(throttling.halve_window(session, account_id, NOW + timedelta(hours=1)) for _ in range(6))
    assert found(store, Account, account_id).window == 1  # and never none


def test_the_window_grows_by_one_per_window_of_successes_up_to_the_most(store: Store) -> None:
    with store.write() as session:
        account_id = add_account(session, NOW, window=10)
        payer = AccountView(account_id, AccountKind.OWN, None, 10)
        for _ in range(11):
            throttling.widen_window(session, payer, 12)
    assert 11 <= found(store, Account, account_id).window < 11.2
    with store.write() as session:
        for _ in range(50):
            throttling.widen_window(session, payer, 12)
    assert found(store, Account, account_id).window == 12


def test_the_weightier_cause_stays_and_a_straggler_with_a_lighter_one_changes_nothing(store: Store) -> None:
    with store.write() as session:
        account_id = add_account(session, NOW)
        assert throttling.park(session, account_id, Cause.CREDITS, "no credits", NOW)
        assert throttling.park(session, account_id, Cause.TOKEN, "no token", NOW)
        assert not throttling.park(session, account_id, Cause.CREDITS, "no credits", NOW)
    account = found(store, Account, account_id)
    assert (account.parked, account.parked_why, account.parked_until) == (Cause.TOKEN, "no token", None)
    with store.write() as session:
        assert throttling.unpark(session, account_id)
        assert not throttling.unpark(session, account_id)
    account = found(store, Account, account_id)
    assert (account.parked, account.parked_why) == (None, "")


def test_the_registration_link_names_the_anonymous_user_and_nobody_else() -> None:
    settings = Settings(nemo_web_url="https://web.example/")
    link = "https://web.example/register?bind=anon_1%2F2"
    assert accounts.registration_link(Account(kind=AccountKind.ANONYMOUS, remote_user_id="anon_1/2"), settings) == link
    assert accounts.registration_link(Account(kind=AccountKind.ANONYMOUS, remote_user_id=""), settings) == ""
    assert accounts.registration_link(Account(kind=AccountKind.OWN, remote_user_id="user_1"), settings) == ""
