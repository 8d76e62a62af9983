"""The service's state: accounts and tokens, sessions and uploads, exports, files."""

import asyncio
import math
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox.draft import Draft
from sandbox.ledger import Timestamps
from sandbox.media import Media
from sandbox.responses import Code, Refusal

if TYPE_CHECKING:
    from pathlib import Path

TOKEN_LIFE: Final = 7 * 24 * 3600.0


@dataclass(slots=True, eq=False)
class Account:
    """An account's credits."""

    user_id: str
    available: int
    frozen: int = 0

    def freeze(self, credits_: int) -> None:
        self.available -= credits_
        self.frozen += credits_

    def charge(self, credits_: int, of_frozen: int) -> None:
        """Spend credits that were frozen for a piece of work, and release the rest of them."""
        self.frozen -= of_frozen
        self.available += of_frozen - credits_

    def shown(self) -> dict[str, object]:
        return {"available": self.available, "frozen": self.frozen, "total": self.available + self.frozen}


ANONYMOUS: Final = Account("", 0)
"""The account of requests that need no token: for a token, or for a file of the CDN."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token, its account, and when it was issued."""

    value: str
    account: Account
    issued: float
    lasts: float = TOKEN_LIFE
    """Seconds until it expires; a registered user's token never does."""

    def is_dead(self, expire_after: float | None) -> bool:
        """Whether it has expired; `expire_after` shortens its life, but not that of a registered user's token."""
        limit = self.lasts if expire_after is None or self.lasts == math.inf else min(self.lasts, expire_after)
        return time.monotonic() - self.issued > limit


@dataclass(slots=True, eq=False)
class Session:
    """One project of one account."""

    id: str
    task_id: str
    account: Account
    language: str
    draft: Draft
    media: list[Media] = field(default_factory=list)
    generated: list[dict[str, Any]] = field(default_factory=list)
    at_work: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the agent works: it does one thing at a time."""
    exporting: str | None = None

    def has(self, kind: str) -> bool:
        return any(media.kind == kind for media in self.media)


@dataclass(eq=False)
class Render(Timestamps):
    """One export, under the id that the client chose."""

    id: str
    account: Account
    session: Session
    form: str
    attribution: dict[str, bool]
    """Which of the attribution headers the request had."""
    status: str = "pending"
    progress: int = 0
    reason: str | None = None
    file: str | None = None
    """The result's path on the CDN."""
    looks: list[dict[str, Any]] = field(default_factory=list)
    """When it was polled, and the status at that time."""
    ended_at: float | None = None


class State:
    """The whole state, in memory."""

    def __init__(self, registered: Mapping[str, int]) -> None:
        self.accounts: dict[str, Account] = {}
        self.clients: dict[str, Token] = {}
        self.addresses: dict[str, set[str]] = {}
        self.sessions: dict[str, Session] = {}
        self.renders: dict[str, Render] = {}
        self.files: dict[str, Path] = {}
        self._tokens: dict[str, Token] = {}
        for number, (value, credits_) in enumerate(registered.items(), start=1):
            account = self._open_account(f"user_{number}", credits_)
            self._tokens[value] = Token(value, account, time.monotonic(), math.inf)

    def issue_token(self, client_id: str, credits_: int) -> Token:
        """Issue a token for this client. Its first opens an account; later ones use what is left there."""
        earlier = self.clients.get(client_id)
        account = earlier.account if earlier else self._open_account(f"anon_{secrets.token_hex(8)}", credits_)
        token = Token(f"nmv_usr_{secrets.token_urlsafe(24)}", account, time.monotonic())
        self.clients[client_id] = self._tokens[token.value] = token
        return token

    def account_of(self, authorization: str, expire_after: float | None) -> Account:
        """The account of this token; refused if the token is unknown or has expired."""
        scheme, _, value = authorization.partition(" ")
        token = self._tokens.get(value.strip()) if scheme.lower() == "bearer" else None
        if token is None or token.is_dead(expire_after):
            raise Refusal(Code.TOKEN_REFUSED, "token expired or invalid")
        return token.account

    def open_session(self, account: Account, name: str, language: str) -> Session:
        ids = f"ses_{secrets.token_hex(12)}", f"task_{secrets.token_hex(8)}"
        session = self.sessions[ids[0]] = Session(*ids, account, language, Draft(name))
        return session

    def _open_account(self, user_id: str, credits_: int) -> Account:
        self.accounts[user_id] = Account(user_id, credits_)
        return self.accounts[user_id]
