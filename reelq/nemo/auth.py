"""Puts the bearer token on each request; when it is refused, all callers share one renewal."""

import threading
from collections.abc import Callable, Generator
from typing import Protocol

import httpx
from pydantic import SecretStr

from reelq import errors
from reelq.nemo import safe_text, wire
from reelq.nemo.identity import Token
from reelq.nemo.transport import limit_body, read_body
from reelq.nemo.types import Grant


class TokenSource(Protocol):
    """Where the token comes from. All requests of one account share one source."""

    def current(self) -> Token:
        """The current token; requested first if there is none yet."""

    def renew(self, refused: Token) -> Token:
        """A token newer than the refused one; raises `TokenRefused` if there is none."""


class OwnToken:
    """The user's own NEMO_TOKEN. It is never renewed."""

    def __init__(self, secret: SecretStr) -> None:
        self._token = Token(secret)

    def current(self) -> Token:
        return self._token

    def renew(self, refused: Token) -> Token:
        raise errors.TokenRefused("The service does not accept NEMO_TOKEN")


class FreeTokens:
    """This installation's anonymous account, within one process. However many threads wait, one requests the token."""

    def __init__(self, request_grant: Callable[[], Grant]) -> None:
        self._request_grant = request_grant
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._requests = 0
        self._failure: errors.RemoteError | None = None
        self.grant: Grant | None = None
        """The newest token's grant, with its account and expiry."""

    def current(self) -> Token:
        return self._token or self._newer_than(0)

    def renew(self, refused: Token) -> Token:
        return self._newer_than(refused.version)

    def _newer_than(self, version: int) -> Token:
        requests_before = self._requests
        with self._lock:
            if self._token and self._token.version > version:
                return self._token
            # A request that was made while this thread waited has failed for it as well.
            if self._failure and self._requests > requests_before:
                raise self._failure.with_traceback(None)
            return self._fetch(version + 1)

    def _fetch(self, version: int) -> Token:
        try:
            self.grant = self._request_grant()
        except errors.RemoteError as failure:
            self._failure = failure
            raise
        else:
            self._failure = None
        finally:
            self._requests += 1
        self._token = Token(SecretStr(self.grant.token), version)
        return self._token


class Bearer(httpx.Auth):
    """Puts the token on each request. When it is refused, renews it and sends the request once more."""

    def __init__(self, tokens: TokenSource) -> None:
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
    """Whether the token was refused. Reads the body only if it is JSON: a stream would be read to its end."""
    if "Authorization" not in response.request.headers:  # redirected to another host, which got no token
        return False
    if response.status_code == httpx.codes.UNAUTHORIZED:
        limit_body(response)  # httpx reads the body before it sends the request again
        return True
    if "json" not in response.headers.get("content-type", "").lower():
        return False
    try:
        answer = safe_text.parse(read_body(response))
    except ValueError:
        return False
    return isinstance(answer, dict) and safe_text.to_int(answer.get("code")) in wire.TOKEN_REFUSED
