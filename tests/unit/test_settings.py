"""Settings come from the environment, checked, and never show a secret."""

from pathlib import Path

import pytest

from reelq.errors import SettingsError
from reelq.settings import Settings


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


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


def test_every_wrong_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELQ_MAX_IN_FLIGHT", "many")
    monkeypatch.setenv("NEMO_API_URL", "mega-api")
    monkeypatch.setenv("REELQ_POLL_INTERVAL", "-3")
    with pytest.raises(SettingsError) as caught:
        Settings.read()
    assert all(name in str(caught.value) for name in ("REELQ_MAX_IN_FLIGHT", "NEMO_API_URL", "REELQ_POLL_INTERVAL"))


@pytest.mark.parametrize(
    ("name", "value", "takes"),
    [
        ("REELQ_MAX_IN_FLIGHT", "many", "a whole number of at least 1"),
        ("REELQ_SETTLE_READS", "0", "a whole number of at least 1"),
        ("REELQ_POLL_INTERVAL", "often", "a number of seconds above 0"),
        ("REELQ_POLL_INTERVAL", "0", "a number of seconds above 0"),
        ("REELQ_EDIT_TIMEOUT", "nan", "a number of seconds above 0"),
        ("REELQ_LOG_FORMAT", "xml", "console or json"),
        ("REELQ_METRICS_ADDRESS", "localhost", "HOST:PORT or PORT, as 127.0.0.1:9100 or 9100"),
        ("REELQ_METRICS_ADDRESS", ":9100", "HOST:PORT or PORT, as 127.0.0.1:9100 or 9100"),
        ("REELQ_METRICS_ADDRESS", "65536", "HOST:PORT or PORT, as 127.0.0.1:9100 or 9100"),
        ("REELQ_ANONYMOUS_FALLBACK", "perhaps", "1 or 0"),
        ("NEMO_API_URL", "mega-api", "an address that begins with http:// or https://"),
        ("NEMO_WEB_URL", "ftp://x", "an address that begins with http:// or https://"),
        ("NEMO_CLIENT_ID", "two words", "plain ASCII without spaces, as it goes into a header"),
        ("NEMO_TOKEN", "two words", "plain ASCII without spaces, as it goes into a header"),
        ("SKILL_SOURCE", "é", "plain ASCII without spaces, as it goes into a header"),
    ],
)
def test_a_wrong_variable_is_told_in_our_own_words(
    name: str, value: str, takes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        Settings.read()
    assert str(caught.value) == f"{name} takes {takes}"


@pytest.mark.parametrize("token", ["nmv_usr_sécrèt", "nmv_usr_two words", "nmv_usr_a\nX-Evil: 1"])
def test_a_token_that_fits_no_header_is_refused_without_being_shown(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEMO_TOKEN", token)
    with pytest.raises(SettingsError) as caught:
        Settings.read()
    assert "NEMO_TOKEN" in str(caught.value)
    assert "nmv_usr" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("9100", ("127.0.0.1", 9100)),
        ("0.0.0.0:9100", ("0.0.0.0", 9100)),
        ("[::1]:9100", ("::1", 9100)),
        ("", None),
    ],
)
def test_a_port_alone_is_one_of_this_machine(
    value: str, place: tuple[str, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELQ_METRICS_ADDRESS", value)
    assert Settings.read().metrics_place == place


def test_no_secret_shows_in_a_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NEMO_TOKEN", "REELQ_SECRET_KEY", "REELQ_DATABASE_URL", "REELQ_BROKER_URL"):
        monkeypatch.setenv(name, "hush-hush")
    assert "hush-hush" not in repr(Settings.read())
