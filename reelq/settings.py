"""The settings of a process: one frozen object, read from the environment once, at the process's edge."""

from pathlib import Path
from typing import Annotated, Final, Literal

import platformdirs
from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from reelq.errors import SettingsError

_SCHEMES: Final = ("http://", "https://")


def _web_address(value: str) -> str:
    if not value.startswith(_SCHEMES):
        raise ValueError(value)
    return value.rstrip("/")


def _header_safe(value: str) -> str:
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise ValueError  # without the value: it may be a token
    return value


def _secret_header_safe(value: SecretStr) -> SecretStr:
    _header_safe(value.get_secret_value())
    return value


_HEADER: Final = "plain ASCII without spaces, as it goes into a header"

# Each says what it takes: that is what a user is told whose variable holds something else.
WebAddress = Annotated[
    str, AfterValidator(_web_address), Field(description="an address that begins with http:// or https://")
]
HeaderText = Annotated[Annotated[str, AfterValidator(_header_safe)] | None, Field(description=_HEADER)]
HeaderSecret = Annotated[Annotated[SecretStr, AfterValidator(_secret_header_safe)] | None, Field(description=_HEADER)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False, description="a number of seconds above 0")]
Count = Annotated[int, Field(ge=1, description="a whole number of at least 1")]
Switch = Annotated[bool, Field(description="1 or 0")]
LogFormat = Annotated[Literal["console", "json"], Field(description="console or json")]


class Settings(BaseSettings):
    """What the environment says, checked. A field's name in capitals is its variable's name."""

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
    reelq_log_format: LogFormat = "console"

    @classmethod
    def read(cls) -> "Settings":
        """The settings of this process's environment; a fault names every variable that is wrong, and no secret."""
        try:
            return cls()
        except ValidationError as error:
            # Not pydantic's words, which are for programmers, nor the value, which may be a secret.
            names = dict.fromkeys(str(fault["loc"][0]) for fault in error.errors())
            wrong = [f"{name.upper()} takes {cls.model_fields[name].description}" for name in names]
            raise SettingsError("; ".join(wrong)) from None
