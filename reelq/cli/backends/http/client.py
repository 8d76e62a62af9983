"""A client of one reelq service: sends requests with the key, parses answers, and raises failures as messages."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from ipaddress import ip_address
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import click
import httpx
from pydantic import TypeAdapter, ValidationError

from reelq.cli.views.text import safe_line, without_password
from reelq.errors import ReelqError, ServiceAway, ServiceRefused, SettingsError, UnknownName
from reelq.nemo.probe import FailureStep, failure_step
from reelq.nemo.safe_text import message_of
from reelq.nemo.transport import read_body
from reelq.settings import Settings

_CONNECT_SECONDS: Final = 10.0
_TIMEOUT_SECONDS: Final = 60.0
_POST_TIMEOUT_SECONDS: Final = 600.0
"""Submitting a hundred thousand rows takes up to half a minute, cancelling them a few minutes."""
_PAGE_SIZE: Final = 200
_LONGEST_FIELD: Final = 500
_PROBLEM: Final = "application/problem+json"
_KEY_ADVICE: Final = (
    "Ask the operator of the service for a key (`reelq keys create --owner NAME`), and set it as REELQ_API_KEY."
)
_ADVICE: Final = {
    FailureStep.NAME: "The host name can't be resolved: check REELQ_API_URL, the network and DNS.",
    FailureStep.CERTIFICATE: "If its certificate is your own, set SSL_CERT_FILE to it.",
    FailureStep.PROXY: "Check HTTPS_PROXY, or put the service's host into NO_PROXY.",
}
"""Advice where the cause of a connection failure is known."""


T = TypeVar("T")


def parse(kind: type[T], answer: object) -> T:
    """Parse a part of an answer, or its JSON text, as this type. If it does not fit, the versions differ."""
    adapter: TypeAdapter[T] = _adapter(kind)  # type: ignore[arg-type] # every type is hashable
    try:
        value = adapter.validate_json(answer) if isinstance(answer, str) else adapter.validate_python(answer)
    except ValidationError as error:
        first = error.errors()[0]
        detail = safe_line(": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"]))))[:_LONGEST_FIELD]
        advice = "The service and this reelq have different versions: update the older one."
        raise ServiceRefused(f"The service's answer can't be understood ({detail})", advice) from None
    return value


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


class Service:
    """The service at one address. Redirects are not followed, so that the key goes nowhere else."""

    def __init__(self, address: str, key: str) -> None:
        self.address = address
        headers = {"Authorization": f"Bearer {key}", "User-Agent": f"reelq/{version('reelq')}"}
        timeout = httpx.Timeout(_TIMEOUT_SECONDS, connect=_CONNECT_SECONDS)
        try:
            self._http = httpx.Client(base_url=address, headers=headers, timeout=timeout, follow_redirects=False)
        except (httpx.InvalidURL, ValueError) as error:
            raise _wrong_address(address, safe_line(str(error))) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """Fetch one resource."""
        return self.ask("GET", path, params=query)

    def pages(self, path: str, *, at_once: int = _PAGE_SIZE, **query: Any) -> Iterator[dict[str, Any]]:
        """Iterate over a list, fetching each page when it is needed."""
        cursor: dict[str, str] = {}
        while True:
            page = self.get(path, limit=at_once, **query, **cursor)
            items = page.get("items")
            if not isinstance(items, list):
                raise self.unexpected_answer()
            yield from items
            if not page.get("next"):
                return
            cursor = {"cursor": str(page["next"])}

    def ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Send a request whose answer is one JSON object."""
        if method == "POST":
            options = {"timeout": httpx.Timeout(_POST_TIMEOUT_SECONDS, connect=_CONNECT_SECONDS), **options}
        with self.opened(method, path, **options) as response:
            read_body(response)
            with suppress(ValueError):
                data = response.json()
                if isinstance(data, dict):
                    return data
            raise self.unexpected_answer()

    def encoded(self, parts: Sequence[tuple[str, Any]]) -> tuple[bytes, Mapping[str, str]]:
        """Encode a form and its header once, so that every retry sends the same bytes."""
        request = self._http.build_request("POST", "/", files=parts)
        return request.read(), {"Content-Type": request.headers["Content-Type"]}

    def has(self, path: str) -> bool:
        """Whether there is a resource at this path."""
        try:
            with self.opened("HEAD", path):
                return True
        except UnknownName:
            return False

    @contextmanager
    def opened(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        """Open a successful response; its body is not read yet."""
        try:
            with self._http.stream(method, path, **options) as response:
                if not response.is_success:
                    read_body(response)
                    raise self._error_of(response)
                yield response
        except httpx.InvalidURL as error:
            raise _wrong_address(self.address, str(error)) from None
        except (httpx.HTTPError, httpx.StreamError, UnicodeError) as error:
            raise _unavailable(self.address, error) from None

    def _error_of(self, response: httpx.Response) -> ReelqError:
        problem, status, address = _parse_problem(response), response.status_code, without_password(self.address)
        if response.is_redirect:
            location = safe_line(without_password(response.headers.get("location", "")))
            message = f"REELQ_API_URL: {address} redirects to {location}; the key is not sent there"
            return SettingsError(message, "If that is the service, set REELQ_API_URL to it.")
        if status == httpx.codes.UNAUTHORIZED:
            return SettingsError(f"REELQ_API_KEY: {address} does not accept this key", _KEY_ADVICE)
        if status in {502, 503, 504} or (problem and status >= 500 and status != 507):
            reason = problem.get("detail") or "the proxy in front of it can't reach it"
            return ServiceAway(f"{address} returned an error: {reason} (HTTP {status})", "Try again in a minute.")
        if not problem and not (status == httpx.codes.NOT_FOUND and response.request.method == "HEAD"):
            return self.unexpected_answer()
        detail, advice = problem.get("detail", "Not found"), problem.get("advice", "")
        if status == httpx.codes.NOT_FOUND:
            return UnknownName(detail, advice or "`reelq status` lists your batches there.")
        return ServiceRefused(detail, advice, problem)

    def unexpected_answer(self) -> SettingsError:
        """The error for an answer that a reelq service would not give."""
        message = f"REELQ_API_URL: {without_password(self.address)} responds, but is not a reelq service"
        return SettingsError(message, "Correct the URL, or check for a proxy or login page in between.")


def service_at(address: str, settings: Settings, *, warn: bool = True) -> Service:
    """Connect to the service at this address with the configured key. Warns if the key would travel unencrypted."""
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise _wrong_address(address, safe_line(str(error))) from None
    if parts.username or parts.password or parts.query or parts.fragment or not parts.hostname:
        raise _wrong_address(address, "only scheme, host, port and path are allowed")
    if settings.reelq_api_key is None:
        raise SettingsError("REELQ_API_KEY is not set, and the reelq service requires a key", _KEY_ADVICE)
    if warn and in_the_clear(address):
        click.echo(f"The key and your files go to {parts.hostname} unencrypted (http): use https.", err=True)
    return Service(address, settings.reelq_api_key.get_secret_value())


def in_the_clear(address: str) -> bool:
    """Whether traffic to this address is unencrypted and leaves this machine."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    try:
        is_local = ip_address(host).is_loopback
    except ValueError:
        is_local = host == "localhost" or host.endswith(".localhost")
    return parts.scheme == "http" and not is_local


def _parse_problem(response: httpx.Response) -> dict[str, str]:
    if response.headers.get("content-type", "").partition(";")[0] != _PROBLEM:
        return {}
    try:
        data = response.json()
    except ValueError:
        return {}
    if not isinstance(data, dict) or "detail" not in data:
        return {}
    fields = ("detail", "advice", "code")
    return data | {field: safe_line(str(data.get(field) or ""))[:_LONGEST_FIELD] for field in fields}


def _unavailable(address: str, error: Exception) -> ServiceAway:
    shown, reason = without_password(address), safe_line(message_of(error))
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError | UnicodeError):
        return ServiceAway(f"No reelq service answers at {shown}: {reason}", _ADVICE.get(failure_step(error), ""))
    return ServiceAway(f"The connection to {shown} was lost: {reason}")


def _wrong_address(address: str, reason: str) -> SettingsError:
    return SettingsError(f"REELQ_API_URL: {without_password(address)} is not a valid service URL: {reason}")
