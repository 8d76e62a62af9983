"""One reelq service over HTTP: requests with the key, answers as JSON, and whatever goes wrong as a sentence."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from ipaddress import ip_address
from typing import Any, Final, Self
from urllib.parse import urlsplit

import click
import httpx

from reelq.cli.wording import masked, one_line
from reelq.errors import ReelqError, ServiceAway, ServiceRefused, SettingsError, UnknownName
from reelq.remote.body import read_whole
from reelq.remote.probe import Trouble, trouble_of
from reelq.remote.redact import said
from reelq.settings import Settings

_CONNECT_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 60.0
_WORK_SECONDS: Final = 600.0
"""A hundred thousand rows are taken in within half a minute, and cancelled within a few."""
_PAGE: Final = 200
_LONGEST_WORD: Final = 500
PROBLEM: Final = "application/problem+json"
_MAKE_ONE: Final = "Whoever runs the service makes one: `reelq keys create --owner NAME`; set it as REELQ_API_KEY."
_MENDS: Final = {
    Trouble.NAME: "No such name is known: check REELQ_API_URL for a slip, and this machine's network and DNS.",
    Trouble.CERTIFICATE: "If its certificate is your own, set SSL_CERT_FILE to it.",
    Trouble.PROXY: "Check HTTPS_PROXY, or put the service's host into NO_PROXY.",
}
"""Where more is known than that it does not answer."""


class Service:
    """The service at one address. The key goes there and nowhere else: no redirect is followed."""

    def __init__(self, address: str, key: str) -> None:
        self.address = address
        headers = {"Authorization": f"Bearer {key}", "User-Agent": f"reelq/{version('reelq')}"}
        patience = httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS)
        try:
            self._http = httpx.Client(base_url=address, headers=headers, timeout=patience, follow_redirects=False)
        except (httpx.InvalidURL, ValueError) as error:
            raise _wrong_address(address, one_line(str(error))) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """One resource."""
        return self.ask("GET", path, params=query)

    def post(self, path: str) -> dict[str, Any]:
        """What came of an action."""
        return self.ask("POST", path)

    def pages(self, path: str, *, at_once: int = _PAGE, **query: Any) -> Iterator[dict[str, Any]]:
        """A list from its beginning to its end, asked for as far as it is read."""
        cursor: dict[str, str] = {}
        while True:
            page = self.get(path, limit=at_once, **query, **cursor)
            yield from _items(self, page)
            if not page.get("next"):
                return
            cursor = {"cursor": str(page["next"])}

    def ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """A request whose answer is one JSON object."""
        if method == "POST":
            options = {"timeout": httpx.Timeout(_WORK_SECONDS, connect=_CONNECT_SECONDS), **options}
        with self.opened(method, path, **options) as response:
            return self._object(response)

    def encoded(self, parts: Sequence[tuple[str, Any]]) -> tuple[bytes, Mapping[str, str]]:
        """A form as it goes out, and the header that goes with it: however often it is sent, it is the same."""
        request = self._http.build_request("POST", "/", files=parts)
        return request.read(), {"Content-Type": request.headers["Content-Type"]}

    def has(self, path: str) -> bool:
        """Whether there is something by this path."""
        try:
            with self.opened("HEAD", path):
                return True
        except UnknownName:
            return False

    @contextmanager
    def opened(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        """A response that is a success, its body yet to be read."""
        with self.in_words(), self._http.stream(method, path, **options) as response:
            if not response.is_success:
                read_whole(response)
                raise self._refusal(response)
            yield response

    @contextmanager
    def in_words(self) -> Iterator[None]:
        """What goes wrong on the way, in a sentence."""
        try:
            yield
        except httpx.InvalidURL as error:
            raise _wrong_address(self.address, str(error)) from None
        except (httpx.HTTPError, httpx.StreamError, UnicodeError) as error:
            raise _away(self.address, error) from None

    def _object(self, response: httpx.Response) -> dict[str, Any]:
        read_whole(response)
        try:
            told = response.json()
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise self.stranger()
        return told

    def _refusal(self, response: httpx.Response) -> ReelqError:
        told = _problem(response)
        status = response.status_code
        if response.is_redirect:
            where = one_line(masked(response.headers.get("location", "")))
            words = f"REELQ_API_URL: {masked(self.address)} sends on to {where}, and the key is not sent there"
            return _setting(words, "If that is the service, name it as REELQ_API_URL.")
        if status == httpx.codes.UNAUTHORIZED:
            return _setting(f"REELQ_API_KEY: {masked(self.address)} does not accept this key", _MAKE_ONE)
        if status in {502, 503, 504} or (told and status >= 500 and status != 507):
            words = told.get("detail") or "whoever stands before it can't reach it"
            return ServiceAway(
                f"{masked(self.address)} is in trouble: {words} (HTTP {status})", "Try again in a minute."
            )
        if not told and not (status == httpx.codes.NOT_FOUND and response.request.method == "HEAD"):
            return self.stranger()
        detail, advice = told.get("detail", "There is no such thing"), told.get("advice", "")
        if status == httpx.codes.NOT_FOUND:
            return UnknownName(detail, advice or "`reelq status` lists your batches there.")
        return ServiceRefused(detail, advice, told)

    def stranger(self) -> SettingsError:
        """What answers there is something else."""
        words = f"REELQ_API_URL: something answers at {masked(self.address)}, but not as a reelq service does"
        return _setting(words, "Correct it; or a proxy or a login page stands in between.")


def service_at(address: str, settings: Settings, *, warn: bool = True) -> Service:
    """The service there, if there is a key to it; a key that would go over the net in the clear is warned of."""
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise _wrong_address(address, one_line(str(error))) from None
    if parts.username or parts.password or parts.query or parts.fragment or not parts.hostname:
        raise _wrong_address(address, "it takes scheme, host, port and path alone")
    if settings.reelq_api_key is None:
        raise _setting("REELQ_API_KEY is not set, and the reelq service asks for a key", _MAKE_ONE)
    if warn and in_the_clear(address):
        click.echo(f"The key and your files go to {parts.hostname} unencrypted (http): use https.", err=True)
    return Service(address, settings.reelq_api_key.get_secret_value())


def in_the_clear(address: str) -> bool:
    """Whether what goes there can be read on the way."""
    parts = urlsplit(address)
    return parts.scheme == "http" and not _is_loopback(parts.hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _problem(response: httpx.Response) -> dict[str, str]:
    if response.headers.get("content-type", "").partition(";")[0] != PROBLEM:
        return {}
    try:
        told = response.json()
    except ValueError:
        return {}
    if not isinstance(told, dict) or "detail" not in told:
        return {}
    words = ("detail", "advice", "code")
    return told | {word: one_line(str(told.get(word) or ""))[:_LONGEST_WORD] for word in words}


def _items(service: Service, page: dict[str, Any]) -> list[dict[str, Any]]:
    items = page.get("items")
    if not isinstance(items, list):
        raise service.stranger()
    return items


def _away(address: str, error: Exception) -> ServiceAway:
    why = one_line(said(error))
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError | UnicodeError):
        return ServiceAway(f"No reelq service answers at {masked(address)}: {why}", _MENDS.get(trouble_of(error), ""))
    return ServiceAway(f"The connection to {masked(address)} broke off: {why}")


def _wrong_address(address: str, why: str) -> SettingsError:
    return _setting(f"REELQ_API_URL: {masked(address)} is no address of a service: {why}", "")


def _setting(words: str, advice: str) -> SettingsError:
    error = SettingsError(words)
    error.advice = advice or error.advice
    return error
