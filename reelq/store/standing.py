"""What is known of the configured account without asking anybody: its token, its last reading, what holds it back."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr
from sqlalchemy import select

from reelq.errors import SettingsError
from reelq.job import Cause
from reelq.settings import Settings
from reelq.store import accounts, credits
from reelq.store.models import Account, AccountKind, CreditReading
from reelq.store.secrets import KEY_FILE, Vault, open_vault
from reelq.store.session import Store, Transaction


@dataclass(frozen=True, slots=True)
class LastReading:
    """The balance when it was read last."""

    at: datetime
    available: int
    frozen: int


@dataclass(frozen=True, slots=True)
class Standing:
    """An account that has been in use, as the database knows it."""

    account_id: str
    kind: AccountKind
    highest: int
    """The most that one instruction has cost yet; 0 where none has cost anything."""
    reading: LastReading | None
    token_issued_at: datetime | None
    token_ends_at: datetime | None
    """When a free token ends; nobody says when one of the user's own does."""
    link: str
    """Where a free account is registered; empty where there is nothing to register."""
    parked: Cause | None
    parked_why: str


def standing(store: Store, settings: Settings) -> Standing | None:
    """How the configured account stands; None where it has not been used yet."""
    account_id = accounts.known_account(store, settings)
    if account_id is None:
        return None
    with store.read() as session:
        account = session.get_one(Account, account_id)
        issued = account.token_issued_at if account.kind is AccountKind.ANONYMOUS else None
        return Standing(
            account_id,
            account.kind,
            credits.highest_cost(session, account_id),
            last_reading(session, account_id),
            issued,
            issued + accounts.QUOTA_PERIOD if issued else None,
            accounts.registration_link(account, settings),
            account.parked,
            account.parked_why,
        )


def last_reading(session: Transaction, account_id: str) -> LastReading | None:
    """The newest reading of an account's balance."""
    query = select(CreditReading.at, CreditReading.available, CreditReading.frozen)
    query = query.where(CreditReading.account_id == account_id).order_by(CreditReading.id.desc()).limit(1)
    found = session.execute(query).one_or_none()
    return LastReading(*found) if found else None


def token_at_hand(store: Store | None, settings: Settings) -> SecretStr | None:
    """The token that a request would go out with, where one is there; none is asked for."""
    if settings.nemo_token is not None or store is None:
        return settings.nemo_token
    account_id = accounts.known_account(store, settings)
    if account_id is None:
        return None
    with store.read() as session:
        kept = session.get_one(Account, account_id).token
    return None if kept is None else vault_at_hand(store, settings).unlock(kept)


def vault_at_hand(store: Store, settings: Settings) -> Vault:
    """The vault, where its key is there already; SettingsError where it would have to be made."""
    file = settings.reelq_data_dir / KEY_FILE
    if settings.reelq_secret_key is None and store.is_sqlite and not file.exists():
        raise SettingsError(f"REELQ_SECRET_KEY: the tokens in the database were locked with a key; {file} is gone")
    return open_vault(settings, local=store.is_sqlite)


def check_key(store: Store, settings: Settings) -> int:
    """How many kept tokens the key opens; SettingsError where there is one that it does not open."""
    with store.read() as session:
        kept = session.scalars(select(Account.token).where(Account.token.is_not(None))).all()
    for token in kept:
        vault_at_hand(store, settings).unlock(token or b"")
    return len(kept)
