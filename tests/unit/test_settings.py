"""Settings come from the environment, checked, and never show a secret; the way to Redis is called by its own name."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from reelq.broker import Transport, make_celery
from reelq.errors import SettingsError
from reelq.settings import Settings


def test_the_defaults_are_those_of_the_documents() -> None:
    settings = Settings.read()
    assert settings.nemo_api_url == "https://mega-api-prod.nemovideo.ai"
    assert settings.nemo_web_url == "https://nemovideo.com"
    assert (settings.reelq_max_in_flight, settings.reelq_poll_interval, settings.reelq_poll_limit) == (64, 30, 20)
    assert (settings.reelq_edit_timeout, settings.reelq_silence_timeout) == (900, 600)
    assert (settings.reelq_settle_first_wait, settings.reelq_settle_wait, settings.reelq_settle_reads) == (30, 60, 5)
    assert (settings.reelq_lease_seconds, settings.reelq_stop_grace, settings.reelq_rate_limit_wait) == (20, 60, 30)
    assert settings.reelq_anonymous_fallback
    assert settings.reelq_log_format == "console"
    assert settings.nemo_token is settings.reelq_broker_url is settings.reelq_database_url is None


def test_a_wait_takes_fractions_and_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELQ_POLL_INTERVAL", "0.05")
    monkeypatch.setenv("NEMO_TOKEN", "")
    assert Settings.read().reelq_poll_interval == 0.05
    assert Settings.read().nemo_token is None


def test_settings_do_not_change(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REELQ_DATA_DIR", str(tmp_path))
    settings = Settings.read()
    assert settings.reelq_data_dir == tmp_path
    with pytest.raises(ValueError, match="frozen"):
        settings.reelq_max_in_flight = 3  # type: ignore[misc]


FIT_FOR_A_HEADER = "plain ASCII without spaces, as it goes into a header"
HOST_AND_PORT = "HOST:PORT or PORT, as 127.0.0.1:9100 or 9100"


@pytest.mark.parametrize(
    ("name", "value", "takes"),
    [
        ("REELQ_MAX_IN_FLIGHT", "many", "a whole number of at least 1"),
        ("REELQ_SETTLE_READS", "0", "a whole number of at least 1"),
        ("REELQ_POLL_INTERVAL", "often", "a number of seconds above 0"),
        ("REELQ_POLL_INTERVAL", "0", "a number of seconds above 0"),
        ("REELQ_EDIT_TIMEOUT", "nan", "a number of seconds above 0"),
        ("REELQ_LOG_FORMAT", "xml", "console or json"),
        *(("REELQ_METRICS_ADDRESS", value, HOST_AND_PORT) for value in ("localhost", ":9100", "65536")),
        ("REELQ_ANONYMOUS_FALLBACK", "perhaps", "1 or 0"),
        ("NEMO_API_URL", "mega-api", "a URL that starts with http:// or https://"),
        ("NEMO_WEB_URL", "ftp://x", "a URL that starts with http:// or https://"),
        ("NEMO_CLIENT_ID", "two words", FIT_FOR_A_HEADER),
        *(("NEMO_TOKEN", value, FIT_FOR_A_HEADER) for value in ("nmv_usr_sécrèt", "two words", "nmv_usr_a\nX-Evil: 1")),
        ("SKILL_SOURCE", "é", FIT_FOR_A_HEADER),
    ],
)
def test_a_wrong_variable_is_told_in_our_own_words_and_named_beside_any_other(
    name: str, value: str, takes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        Settings.read()
    assert str(caught.value) == f"{name} takes {takes}"
    monkeypatch.setenv("REELQ_STOP_GRACE", "-3")
    with pytest.raises(SettingsError, match=rf"{name} takes .*REELQ_STOP_GRACE|REELQ_STOP_GRACE takes .*{name}"):
        Settings.read()


def test_a_port_alone_is_one_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, place in {
        "9100": ("127.0.0.1", 9100), "0.0.0.0:9100": ("0.0.0.0", 9100), "[::1]:9100": ("::1", 9100), "": None,
    }.items():  # fmt: skip
        monkeypatch.setenv("REELQ_METRICS_ADDRESS", value)
        assert Settings.read().metrics_place == place


def test_no_secret_shows_in_a_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NEMO_TOKEN", "REELQ_SECRET_KEY", "REELQ_DATABASE_URL", "REELQ_BROKER_URL"):
        monkeypatch.setenv(name, "hush-hush")
    assert "hush-hush" not in repr(Settings.read())


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_redis_is_reached_by_our_way_and_told_of_by_its_own_name(scheme: str) -> None:
    address = f"{scheme}://:secret@127.0.0.1:6399/2"
    with make_celery(Settings(reelq_broker_url=SecretStr(address))).connection_for_write() as connection:
        assert isinstance(connection.transport, Transport)
        assert connection.as_uri() == f"{scheme}://:**@127.0.0.1:6399/2"
        assert bool(connection.ssl) == (scheme == "rediss")
