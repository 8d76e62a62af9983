"""The bearer token on each request, and one fresh token for all when it is refused."""

import threading
from collections.abc import Callable, Generator
from typing import Protocol

import httpx
from pydantic import SecretStr

from reelq import errors
from reelq.remote import jsontext, wire
from reelq.remote.body import bound, read_whole
from reelq.remote.identity import Token
from reelq.remote.receipts import Grant


class Tokens(Protocol):
    """Where the token comes from; the same for all requests of one account."""

    def current(self) -> Token:
        """The token to use now, asked for first where there is none yet."""

    def renew(self, refused: Token) -> Token:
        """A token newer than the refused one; raises `TokenRefused` where none can be had."""


class OwnToken:
    """The user's own NEMO_TOKEN: used as it is, renewed by nobody."""

    def __init__(self, secret: SecretStr) -> None:
        self._token = Token(secret)

    def current(self) -> Token:
        return self._token

    def renew(self, refused: Token) -> Token:
        raise errors.TokenRefused("The service does not accept NEMO_TOKEN")


class FreeTokens:
    """The anonymous account of this installation, within one process: however many wait, one asks."""

    def __init__(self, ask: Callable[[], Grant]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._asked = 0
        self._failure: errors.RemoteError | None = None
        self.grant: Grant | None = None
        """What came with the newest token: whose it is, and until when."""

    def current(self) -> Token:
        return self._token or self._newer_than(0)

    def renew(self, refused: Token) -> Token:
        return self._newer_than(refused.version)

    def _newer_than(self, version: int) -> Token:
        asked_before = self._asked
        with self._lock:
            if self._token and self._token.version > version:
                return self._token
            if self._failure and self._asked > asked_before:  # asked while this one waited: the answer is for all
                raise self._failure.with_traceback(None)
            return self._fetch(version + 1)

    def _fetch(self, version: int) -> Token:
        try:
            self.grant = self._ask()
        except errors.RemoteError as failure:
            self._failure = failure
            raise
        else:
            self._failure = None
        finally:
            self._asked += 1
        self._token = Token(SecretStr(self.grant.token), version)
        return self._token


class Bearer(httpx.Auth):
    """Puts the token on each request; where it is refused, renews it and sends the request once more."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = self.tokens.current()
        request.headers["Authorization"] = _bearer(token)
        response = yield request
        if _is_refusal(response):
            request.headers["Authorization"] = _bearer(self.tokens.renew(token))
            yield request


def _bearer(token: Token) -> str:
    return f"Bearer {token.secret.get_secret_value()}"


def _is_refusal(response: httpx.Response) -> bool:
    """Whether the token was refused; reads the body of JSON alone, as a stream would be read to its end."""
    if "Authorization" not in response.request.headers:  # a redirect led to another host, which was shown no token
        return False
    if response.status_code == httpx.codes.UNAUTHORIZED:
        bound(response)  # the transport reads it before it sends again
        return True
    if "json" not in response.headers.get("content-type", "").lower():
        return False
    try:
        answer = jsontext.parse(read_whole(response))
    except ValueError:
        return False
    return isinstance(answer, dict) and jsontext.whole(answer.get("code")) in wire.TOKEN_REFUSED
