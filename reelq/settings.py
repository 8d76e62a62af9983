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
        raise ValueError("must begin with http:// or https://")
    return value.rstrip("/")


def _header_safe(value: str) -> str:
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise ValueError("must be plain ASCII without spaces, as it goes into a header")
    return value


def _secret_header_safe(value: SecretStr) -> SecretStr:
    _header_safe(value.get_secret_value())
    return value


WebAddress = Annotated[str, AfterValidator(_web_address)]
HeaderText = Annotated[str, AfterValidator(_header_safe)]
HeaderSecret = Annotated[SecretStr, AfterValidator(_secret_header_safe)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Settings(BaseSettings):
    """What the environment says, checked. A field's name in capitals is its variable's name."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    nemo_api_url: WebAddress = "https://mega-api-prod.nemovideo.ai"
    nemo_web_url: WebAddress = "https://nemovideo.com"
    nemo_token: HeaderSecret | None = None
    nemo_client_id: HeaderText | None = None
    skill_source: HeaderText | None = None

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
    reelq_anonymous_fallback: bool = True
    reelq_lease_seconds: Seconds = 20
    reelq_stop_grace: Seconds = 60
    reelq_keep_days: Seconds | None = None
    reelq_log_format: Literal["console", "json"] = "console"

    @classmethod
    def read(cls) -> "Settings":
        """The settings of this process's environment; a fault names every variable that is wrong, and no secret."""
        try:
            return cls()
        except ValidationError as error:
            wrong = [f"{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors()]
            raise SettingsError("; ".join(wrong)) from None
