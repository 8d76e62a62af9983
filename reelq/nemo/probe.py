"""One quick check of the service: whether it answers, its clock, and what a token gives access to."""

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
from reelq.nemo import wire
from reelq.nemo.safe_text import message_of
from reelq.nemo.transport import exchange, open_http, secret_of
from reelq.nemo.types import Balance
from reelq.nemo.wire import Area
from reelq.settings import Settings

SECONDS: Final = 4.0


class FailureStep(StrEnum):
    """Why the service could not be reached."""

    NAME = "name"
    CERTIFICATE = "certificate"
    PROXY = "proxy"
    TIME = "time"
    CONNECTION = "connection"


class Unreachable(Exception):
    """The service could not be reached; `trouble` is the step that failed, the message what the network said."""

    def __init__(self, trouble: FailureStep, message: str) -> None:
        super().__init__(message)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of the check."""

    seconds: float
    skew: float | None
    """Seconds that this machine's clock is ahead of the service's; None if the service does not send the time."""
    balance: Balance | None
    refusal: errors.RemoteError | None
    """Why there is no balance. Without a token, `TokenRefused` is expected."""


def look(
    settings: Settings, attribution: Mapping[str, str], token: SecretStr | None, seconds: float = SECONDS
) -> ProbeResult:
    """Ask for the balance once; a refused token is not renewed, and none is requested."""
    headers = dict(attribution)
    if token is not None:
        headers["Authorization"] = f"Bearer {token.get_secret_value()}"
    with open_http(settings) as http:
        request = http.build_request("GET", "/api/credits/balance/simple", headers=headers, timeout=seconds)
        started = time.time()
        try:
            response = exchange(http, request)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise Unreachable(failure_step(error), message_of(error)) from None
        elapsed = time.time() - started
    skew = _skew(response.headers.get("date", ""), started + elapsed / 2)
    secret = secret_of(response)
    try:
        balance = wire.parse_answer(
            wire.read_balance, response.status_code, response.content, Area.ACCOUNT, secret=secret
        )
    except errors.RemoteError as refusal:
        return ProbeResult(elapsed, skew, None, refusal)
    return ProbeResult(elapsed, skew, balance, None)


def failure_step(error: Exception) -> FailureStep:
    """The step at which the connection failed."""
    causes = _causes(error)
    if any(isinstance(cause, socket.gaierror | UnicodeError | httpx.InvalidURL) for cause in causes):
        return FailureStep.NAME
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return FailureStep.CERTIFICATE
    if isinstance(error, httpx.ProxyError):
        return FailureStep.PROXY
    return FailureStep.TIME if isinstance(error, httpx.TimeoutException) else FailureStep.CONNECTION


def _causes(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _skew(date: str, local_time: float) -> float | None:
    try:
        remote_time = parsedate_to_datetime(date)
    except ValueError:
        return None
    # The header has whole seconds: half a second is the best guess at the rest.
    return local_time - remote_time.replace(tzinfo=remote_time.tzinfo or UTC).timestamp() - 0.5
