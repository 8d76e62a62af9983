"""What the database knows of the configured account: token, balance, why it is parked. The service is not asked."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr
from sqlalchemy import select

from reelq.errors import SettingsError
from reelq.job import Cause
from reelq.settings import Settings
from reelq.store.billing import accounts, ledger, throttling
from reelq.store.db.engine import Store, Transaction
from reelq.store.db.models import Account, AccountKind, CreditReading
from reelq.store.db.vault import KEY_FILE, Vault, open_vault


@dataclass(frozen=True, slots=True)
class LastReading:
    """The last reading of the balance."""

    at: datetime
    available: int
    frozen: int


@dataclass(frozen=True, slots=True)
class AccountState:
    """The state of an account that has been used."""

    kind: AccountKind
    highest: int
    """The highest cost of a single instruction so far; 0 if none has cost anything."""
    reading: LastReading | None
    token_ends_at: datetime | None
    """When a free token expires; for the user's own token this is not known."""
    link: str
    """Where the user can register a free account; empty if there is nothing to register."""
    parked: Cause | None
    parked_why: str


def account_state(store: Store, settings: Settings) -> AccountState | None:
    """The state of the configured account; None if it has not been used yet."""
    account_id = accounts.find_account(store, settings)
    if account_id is None:
        return None
    with store.read() as session:
        account = session.get_one(Account, account_id)
        issued = account.token_issued_at if account.kind is AccountKind.ANONYMOUS else None
        return AccountState(
            account.kind,
            ledger.highest_cost(session, account_id),
            _last_reading(session, account_id),
            issued + throttling.QUOTA_PERIOD if issued else None,
            accounts.registration_link(account, settings),
            account.parked,
            account.parked_why,
        )


def _last_reading(session: Transaction, account_id: str) -> LastReading | None:
    """The newest reading of an account's balance."""
    query = select(CreditReading.at, CreditReading.available, CreditReading.frozen)
    query = query.where(CreditReading.account_id == account_id).order_by(CreditReading.id.desc()).limit(1)
    row = session.execute(query).one_or_none()
    return LastReading(*row) if row else None


def stored_token(store: Store | None, settings: Settings) -> SecretStr | None:
    """The token that a request would use, if there is one; never requests a new one."""
    if settings.nemo_token is not None or store is None:
        return settings.nemo_token
    account_id = accounts.find_account(store, settings)
    if account_id is None:
        return None
    with store.read() as session:
        encrypted = session.get_one(Account, account_id).token
    return None if encrypted is None else existing_vault(store, settings).unlock(encrypted)


def existing_vault(store: Store, settings: Settings) -> Vault:
    """The vault with its existing key. Raises SettingsError if the key would have to be created."""
    file = settings.reelq_data_dir / KEY_FILE
    if settings.reelq_secret_key is None and store.is_sqlite and not file.exists():
        raise SettingsError(
            f"REELQ_SECRET_KEY: the tokens in the database are encrypted, but the key file {file} is missing"
        )
    return open_vault(settings, local=store.is_sqlite)


def check_key(store: Store, settings: Settings) -> int:
    """Decrypt all stored tokens. Returns their number; raises SettingsError if the key does not fit one of them."""
    with store.read() as session:
        encrypted_tokens = session.scalars(select(Account.token).where(Account.token.is_not(None))).all()
    for encrypted in encrypted_tokens:
        existing_vault(store, settings).unlock(encrypted or b"")
    return len(encrypted_tokens)
