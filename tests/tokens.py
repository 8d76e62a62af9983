"""Tokens for tests that talk to the service without a database."""

from collections.abc import Callable

from pydantic import SecretStr

from reelq.errors import TokenRefused
from reelq.nemo.identity import Token
from reelq.nemo.types import Grant


class FixedToken:
    """One token, used as it is and renewed by nobody."""

    def __init__(self, secret: str) -> None:
        self._token = Token(SecretStr(secret))

    def current(self) -> Token:
        return self._token

    def renew(self, refused: Token) -> Token:
        raise TokenRefused


class AskedTokens:
    """Tokens that are asked for: the first when it is needed, another whenever one is refused."""

    def __init__(self, ask: Callable[[], Grant]) -> None:
        self._ask = ask
        self._token: Token | None = None

    def current(self) -> Token:
        return self._token or self._next(1)

    def renew(self, refused: Token) -> Token:
        return self._next(refused.version + 1)

    def _next(self, version: int) -> Token:
        self._token = Token(SecretStr(self._ask().token), version)
        return self._token
