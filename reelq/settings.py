"""The settings of a process: one frozen object, read from the environment once, when the process starts."""

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import platformdirs
from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from reelq.errors import SettingsError

_SCHEMES: Final = ("http://", "https://")
_LOOPBACK: Final = "127.0.0.1"
_MAX_PORT: Final = 65_535
Network = IPv4Network | IPv6Network
T = TypeVar("T")
DESCRIPTIONS: Final = {
    "NEMO_API_URL": "the URL of the NemoVideo service",
    "NEMO_WEB_URL": "the base URL of links that reelq shows",
    "NEMO_TOKEN": "your own account's token; without it, a free starter account is used",
    "NEMO_CLIENT_ID": "this installation's id with the service; it never changes",
    "SKILL_SOURCE": "the platform that requests are attributed to",
    "REELQ_DATABASE_URL": "where every row's state is kept; PostgreSQL for more than one machine",
    "REELQ_BROKER_URL": "the Redis that carries messages to workers; without it, each command does its own work",
    "REELQ_DATA_DIR": "the folder of the database, the key, your skills and HTTP uploads (shared by all machines)",
    "REELQ_SECRET_KEY": "encrypts the tokens in the database; the same on every machine",
    "REELQ_MAX_IN_FLIGHT": "maximum number of rows of the account in progress at once",
    "REELQ_POLL_INTERVAL": "seconds between two polls of an export",
    "REELQ_POLL_LIMIT": "polls after which an export counts as stuck",
    "REELQ_RATE_LIMIT_WAIT": "seconds to wait after the service answers 429",
    "REELQ_EDIT_TIMEOUT": "maximum duration of an edit in seconds",
    "REELQ_SILENCE_TIMEOUT": "seconds of keep-alives alone after which an edit's stream counts as lost",
    "REELQ_SETTLE_FIRST_WAIT": "seconds before the session is first checked after a lost stream",
    "REELQ_SETTLE_WAIT": "seconds between the checks that follow",
    "REELQ_SETTLE_READS": "checks without a change before an edit can count as unconfirmed",
    "REELQ_ANONYMOUS_FALLBACK": "1: if NEMO_TOKEN is refused, rows that have not started use the free account; 0: wait",
    "REELQ_LEASE_SECONDS": "seconds until a worker's lease expires and its rows are requeued",
    "REELQ_STOP_GRACE": "seconds that a stopping worker waits for its running stages",
    "REELQ_KEEP_DAYS": "days after which finished batches are deleted; without it, they are kept",
    "REELQ_API_URL": "the reelq service that commands use; without it, they use this machine's own queue",
    "REELQ_API_KEY": "your key to that service; `reelq keys create` creates one there",
    "REELQ_ALLOWED_NETWORKS": "private networks that webhooks may be sent to, such as 10.1.0.0/16,fd12::/16",
    "REELQ_LOG_FORMAT": "how workers and the REST service write their log: console or json",
    "REELQ_METRICS_ADDRESS": "HOST:PORT or PORT at which a worker serves its metrics; without it, it serves none",
}
"""A one-line description of each variable."""


def web_address(value: str) -> str:
    """A web address without a trailing slash. Raises ValueError if it is not one."""
    if not value.startswith(_SCHEMES):
        raise ValueError(value)
    return value.rstrip("/")


def _valid_for(parse: Callable[[T], object]) -> AfterValidator:
    """Validate a value and keep it as it is: `parse` raises ValueError if it is invalid."""

    def check(value: T) -> T:
        parse(value)
        return value

    return AfterValidator(check)


def _check_header(value: str | SecretStr) -> None:
    text = value if isinstance(value, str) else value.get_secret_value()
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError  # without the value, which may be a token


def _parse_networks(value: str) -> tuple[Network, ...]:
    return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())


def _parse_place(value: str) -> tuple[str, int]:
    """Parse `HOST:PORT` or `PORT`; an IPv6 address is in brackets, as in URLs."""
    host, colon, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if colon else _LOOPBACK
    if not (host and port.isascii() and port.isdigit() and 0 < int(port) <= _MAX_PORT):
        raise ValueError(value)
    return host, int(port)


_HEADER_DESCRIPTION: Final = "plain ASCII without spaces, as it goes into a header"
# The description of each type is shown to users whose variable has an invalid value.
WebAddress = Annotated[
    str, AfterValidator(web_address), Field(description="a URL that starts with http:// or https://")
]
HeaderText = Annotated[Annotated[str, _valid_for(_check_header)] | None, Field(description=_HEADER_DESCRIPTION)]
HeaderSecret = Annotated[Annotated[SecretStr, _valid_for(_check_header)] | None, Field(description=_HEADER_DESCRIPTION)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False, description="a number of seconds above 0")]
Count = Annotated[int, Field(ge=1, description="a whole number of at least 1")]
Switch = Annotated[bool, Field(description="1 or 0")]
Networks = Annotated[
    str, _valid_for(_parse_networks), Field(description="networks such as 10.1.0.0/16, separated by commas")
]
Place = Annotated[
    Annotated[str, _valid_for(_parse_place)] | None, Field(description="HOST:PORT or PORT, as 127.0.0.1:9100 or 9100")
]
LogFormat = Annotated[Literal["console", "json"], Field(description="console or json")]


class Settings(BaseSettings):
    """The validated environment variables. A field's name in capitals is the name of its variable."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    nemo_api_url: WebAddress = "https://mega-api-prod.nemovideo.ai"
    nemo_web_url: WebAddress = "https://nemovideo.com"
    nemo_token: HeaderSecret = None
    nemo_client_id: HeaderText = None
    skill_source: HeaderText = None

    reelq_database_url: SecretStr | None = None
    reelq_broker_url: SecretStr | None = None
    reelq_data_dir: Path = Field(default_factory=lambda: platformdirs.user_data_path("reelq"))
    reelq_secret_key: SecretStr | None = None
    reelq_max_in_flight: Count = 64
    reelq_poll_interval: Seconds = 30
    reelq_poll_limit: Count = 20
    reelq_rate_limit_wait: Seconds = 30
    reelq_edit_timeout: Seconds = 900
    reelq_silence_timeout: Seconds = 600
    reelq_settle_first_wait: Seconds = 30
    reelq_settle_wait: Seconds = 60
    reelq_settle_reads: Count = 5
    reelq_anonymous_fallback: Switch = True
    reelq_lease_seconds: Seconds = 20
    reelq_stop_grace: Seconds = 60
    reelq_keep_days: Seconds | None = None
    reelq_api_url: WebAddress | None = None
    reelq_api_key: HeaderSecret = None
    reelq_allowed_networks: Networks = ""
    reelq_log_format: LogFormat = "console"
    reelq_metrics_address: Place = None

    @property
    def allowed_networks(self) -> tuple[Network, ...]:
        """The private networks that webhooks may be sent to."""
        return _parse_networks(self.reelq_allowed_networks)

    @property
    def metrics_place(self) -> tuple[str, int] | None:
        """The host and port at which a worker serves its metrics; None if it does not."""
        return _parse_place(self.reelq_metrics_address) if self.reelq_metrics_address else None

    @classmethod
    def read(cls) -> "Settings":
        """Read the settings from the environment. Raises SettingsError with all invalid variables, but no values."""
        try:
            return cls()
        except ValidationError as error:
            problems = [f"{name.upper()} takes {cls.model_fields[name].description}" for name in _invalid_fields(error)]
            raise SettingsError("; ".join(problems)) from None

    @classmethod
    def read_leniently(cls) -> "tuple[Settings, dict[str, str]]":
        """Read the settings with defaults in place of invalid values; also returns the invalid variables, described."""
        try:
            return cls(), {}
        except ValidationError as error:
            names = _invalid_fields(error)
            defaults = {name: cls.model_fields[name].get_default(call_default_factory=True) for name in names}
            return cls(**defaults), {name.upper(): cls.model_fields[name].description or "" for name in names}


def _invalid_fields(error: ValidationError) -> list[str]:
    """The invalid fields, without pydantic's messages, which are for programmers, or values, which may be secret."""
    return list(dict.fromkeys(str(fault["loc"][0]) for fault in error.errors()))
