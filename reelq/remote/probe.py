"""One quick look at the service: whether it is there, what its clock says, and what a token is good for."""

import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

import httpx
from pydantic import SecretStr

from reelq import errors
from reelq.remote import wire
from reelq.remote.body import read_whole
from reelq.remote.client import open_http
from reelq.remote.receipts import Balance
from reelq.remote.redact import said
from reelq.remote.wire import Where
from reelq.settings import Settings

SECONDS: Final = 4.0


class Trouble(StrEnum):
    """Why no answer came."""

    NAME = "name"
    CERTIFICATE = "certificate"
    PROXY = "proxy"
    TIME = "time"
    CONNECTION = "connection"


class Unreached(Exception):
    """No answer came; `trouble` is where the way there ended, the message what the network said."""

    def __init__(self, trouble: Trouble, words: str) -> None:
        super().__init__(words)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class Seen:
    """What came back."""

    seconds: float
    skew: float | None
    """How many seconds this machine's clock is ahead of the service's; None where it does not tell the time."""
    balance: Balance | None
    refusal: errors.RemoteError | None
    """Why there is no balance. Without a token that is as it should be: `TokenRefused`."""


def look(settings: Settings, attribution: Mapping[str, str], token: SecretStr | None, seconds: float = SECONDS) -> Seen:
    """Ask for the balance, once; a refused token is not renewed, and none is asked for."""
    headers = dict(attribution)
    if token is not None:
        headers["Authorization"] = f"Bearer {token.get_secret_value()}"
    with open_http(settings) as http:
        request = http.build_request("GET", "/api/credits/balance/simple", headers=headers, timeout=seconds)
        began = time.time()
        response = _exchange(http, request)
        taken = time.time() - began
    skew = _skew(response.headers.get("date", ""), began + taken / 2)
    secret = token.get_secret_value() if token else ""
    try:
        balance = wire.understand(
            wire.read_balance, response.status_code, response.content, Where.ACCOUNT, secret=secret
        )
    except errors.RemoteError as refusal:
        return Seen(taken, skew, None, refusal)
    return Seen(taken, skew, balance, None)


def _exchange(http: httpx.Client, request: httpx.Request) -> httpx.Response:
    try:
        response = http.send(request, stream=True)
        try:
            read_whole(response)
        finally:
            response.close()
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise Unreached(trouble_of(error), said(error)) from None
    return response


def trouble_of(error: Exception) -> Trouble:
    """Where the way ended."""
    causes = _causes(error)
    if any(isinstance(cause, socket.gaierror | UnicodeError | httpx.InvalidURL) for cause in causes):
        return Trouble.NAME
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return Trouble.CERTIFICATE
    if isinstance(error, httpx.ProxyError):
        return Trouble.PROXY
    return Trouble.TIME if isinstance(error, httpx.TimeoutException) else Trouble.CONNECTION


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _skew(date: str, here: float) -> float | None:
    try:
        there = parsedate_to_datetime(date)
    except ValueError:
        return None
    # It says whole seconds: half of one is the best guess at the rest.
    return here - there.replace(tzinfo=there.tzinfo or UTC).timestamp() - 0.5
