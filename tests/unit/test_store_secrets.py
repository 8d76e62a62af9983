"""Tokens are unreadable at rest, and their key is made once, kept whole, and never guessed."""

import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from reelq.errors import SettingsError
from reelq.settings import Settings
from reelq.store.db.vault import KEY_FILE, Vault, open_vault

TOKEN = SecretStr("nmv_usr_planted-secret")
KEY = "a key that is long enough"


def _settings(folder: Path, key: str = "") -> Settings:
    given: dict[str, Any] = {"reelq_secret_key": SecretStr(key)} if key else {}
    return Settings(reelq_data_dir=folder, **given)


def test_a_token_comes_back_from_the_vault_and_is_unreadable_in_between_differently_each_time() -> None:
    vault = Vault(KEY)
    locked, again = vault.lock(TOKEN), vault.lock(TOKEN)
    assert b"nmv_usr" not in locked
    assert locked != again
    assert Vault(KEY).unlock(locked) == vault.unlock(again) == TOKEN


def test_another_key_opens_nothing_and_what_was_tampered_with_is_refused() -> None:
    locked = Vault(KEY).lock(TOKEN)
    with pytest.raises(SettingsError, match="encrypted with another key") as caught:
        Vault(f"{KEY}!").unlock(locked)
    assert "planted" not in str(caught.value)
    with pytest.raises(SettingsError, match="REELQ_SECRET_KEY"):
        Vault(KEY).unlock(locked[:-5] + bytes([locked[-5] ^ 1]) + locked[-4:])


def test_a_given_key_is_used_and_none_is_made(tmp_path: Path) -> None:
    settings = _settings(tmp_path, KEY)
    for local in (True, False):
        assert Vault(KEY).unlock(open_vault(settings, local=local).lock(TOKEN)) == TOKEN
    assert list(tmp_path.iterdir()) == []


def test_a_given_key_that_is_short_is_refused_without_being_shown_and_so_is_a_shared_database_without_one(
    tmp_path: Path,
) -> None:
    with pytest.raises(SettingsError, match="at least 16 characters") as caught:
        open_vault(_settings(tmp_path, "short-key"), local=True)
    assert "short-key" not in str(caught.value)
    with pytest.raises(SettingsError, match="must be set"):
        open_vault(_settings(tmp_path), local=False)
    assert list(tmp_path.iterdir()) == []


def test_a_local_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    settings = _settings(tmp_path / "new" / "folder")
    locked = open_vault(settings, local=True).lock(TOKEN)
    kept = settings.reelq_data_dir / KEY_FILE
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert len(kept.read_text()) >= 43
    assert open_vault(settings, local=True).unlock(locked) == TOKEN
    assert list(settings.reelq_data_dir.iterdir()) == [kept]
    with pytest.raises(SettingsError):
        open_vault(_settings(tmp_path / "other"), local=True).unlock(locked)


@pytest.mark.parametrize("content", ["", "\n", "cut"])
def test_a_key_file_that_was_emptied_or_cut_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text(content)
    with pytest.raises(SettingsError, match=KEY_FILE):
        open_vault(_settings(tmp_path), local=True)
    assert (tmp_path / KEY_FILE).read_text() == content
