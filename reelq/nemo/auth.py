"""Puts the bearer token on each request; when it is refused, all callers share one renewal."""

from collections.abc import Generator
from typing import Protocol

import httpx

from reelq.nemo import safe_text, wire
from reelq.nemo.identity import Token
from reelq.nemo.transport import limit_body, read_body


class TokenSource(Protocol):
    """Where the token comes from. All requests of one account share one source."""

    def current(self) -> Token:
        """The current token; requested first if there is none yet."""

    def renew(self, refused: Token) -> Token:
        """A token newer than the refused one; raises `TokenRefused` if there is none."""


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
