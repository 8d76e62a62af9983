"""Finds or creates the account that this deployment uses: that of NEMO_TOKEN, or the anonymous one."""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from sqlalchemy import Select, insert, select
from sqlalchemy.exc import IntegrityError

from reelq.job import Cause
from reelq.nemo.identity import client_id
from reelq.settings import Settings
from reelq.store.db.engine import Store
from reelq.store.db.models import Account, AccountKind
from reelq.store.db.types import new_id
from reelq.store.db.vault import Vault

ANONYMOUS: Final = "anonymous"
"""The credential of the anonymous account, which uses free tokens. There is one per service."""
FALLBACK_MESSAGE: Final = "NEMO_TOKEN was refused; continuing with the free account"


def account_for(store: Store, vault: Vault, settings: Settings, *, home: Path | None = None) -> str:
    """The id of the configured account, created if needed: that of NEMO_TOKEN, else the anonymous one."""
    own = settings.nemo_token
    if own is None:
        return anonymous_for(store, settings, home=home)
    credential = _credential(settings)
    return _find(store, settings, credential) or _create(
        store, settings, credential, kind=AccountKind.OWN, token=vault.lock(own), token_version=1
    )


def find_account(store: Store, settings: Settings) -> str | None:
    """The id of the configured account if it exists, else None. This writes nothing."""
    return _find(store, settings, _credential(settings))


def _credential(settings: Settings) -> str:
    own = settings.nemo_token
    return ANONYMOUS if own is None else hashlib.sha256(own.get_secret_value().encode()).hexdigest()


def anonymous_for(store: Store, settings: Settings, *, home: Path | None = None) -> str:
    """The id of the anonymous account, created if needed. All machines that share the database share its client id."""
    return _find(store, settings, ANONYMOUS) or _create(
        store, settings, ANONYMOUS, kind=AccountKind.ANONYMOUS, client_id=client_id(settings, home)
    )


def _find(store: Store, settings: Settings, credential: str) -> str | None:
    with store.read() as session:
        return session.execute(_by_credential(settings, credential)).scalar_one_or_none()


def _create(store: Store, settings: Settings, credential: str, **values: Any) -> str:
    with suppress(IntegrityError), store.write() as session:  # another process may create it first
        row: dict[str, Any] = {"id": new_id("acc"), "service_url": settings.nemo_api_url, "credential": credential}
        row |= {"window": settings.reelq_max_in_flight, "created_at": store.now(session)}
        session.execute(insert(Account).values(**row, **values))
    with store.read() as session:
        return session.execute(_by_credential(settings, credential)).scalar_one()


def _by_credential(settings: Settings, credential: str) -> Select[str]:
    return select(Account.id).where(Account.service_url == settings.nemo_api_url, Account.credential == credential)


def account_for_waiting_jobs(
    store: Store, vault: Vault, settings: Settings, *, home: Path | None = None
) -> tuple[str, str]:
    """The account with which waiting rows that have sent nothing continue, and the event message for it.

    That is the configured account, or the anonymous one if NEMO_TOKEN was refused and the settings allow it.
    """
    configured = account_for(store, vault, settings, home=home)
    if settings.nemo_token and settings.reelq_anonymous_fallback:
        with store.read() as session:
            refused = session.get_one(Account, configured).parked is Cause.TOKEN
        if refused:
            return anonymous_for(store, settings, home=home), FALLBACK_MESSAGE
    return configured, "moved to the account that is configured now; nothing was sent with the old one"


def registration_link(account: Account, settings: Settings) -> str:
    """The URL to register an anonymous account; empty if the account is not anonymous or has no user id yet."""
    if account.kind is not AccountKind.ANONYMOUS or not account.remote_user_id:
        return ""
    return f"{settings.nemo_web_url}/register?bind={quote(account.remote_user_id, safe='')}"


class AccountView(NamedTuple):
    """The columns of an account that a stage needs."""

    id: str
    kind: AccountKind
    probe_job_id: str | None
    window: float
