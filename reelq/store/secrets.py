"""What keeps tokens unreadable at rest: a key that never stands in the database."""

import base64
import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken
from pydantic import SecretStr

from reelq.errors import SettingsError
from reelq.settings import Settings

KEY_FILE: Final = "secret.key"
_SHORTEST: Final = 16


class Vault:
    """Encrypts tokens for the database and back."""

    def __init__(self, key: str) -> None:
        self._fernet = Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()))

    def lock(self, secret: SecretStr) -> bytes:
        """The secret as it may stand in the database."""
        return self._fernet.encrypt(secret.get_secret_value().encode())

    def unlock(self, kept: bytes) -> SecretStr:
        """The secret again; SettingsError where it was locked with another key."""
        try:
            return SecretStr(self._fernet.decrypt(kept).decode())
        except InvalidToken:
            raise SettingsError("REELQ_SECRET_KEY: the tokens in the database were locked with another key") from None


def open_vault(settings: Settings, *, local: bool) -> Vault:
    """The vault of this installation; with a database of its own machine (`local`) the key is made once and kept."""
    if settings.reelq_secret_key is not None:
        key = settings.reelq_secret_key.get_secret_value()
        if len(key) < _SHORTEST:
            raise SettingsError(f"REELQ_SECRET_KEY: at least {_SHORTEST} characters")
        return Vault(key)
    if not local:
        raise SettingsError("REELQ_SECRET_KEY: must be given, the same on every machine, as the database is shared")
    return Vault(_kept(settings.reelq_data_dir / KEY_FILE))


def _kept(file: Path) -> str:
    if not file.exists():
        _make(file)
    key = file.read_text().strip()
    if len(key) < _SHORTEST:  # an empty one would lock, and anybody could unlock
        raise SettingsError(f"{file}: this is no key; put the right one back, or remove the file and its database")
    return key


def _make(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(secrets.token_urlsafe(32))
        out.flush()
        os.fsync(out.fileno())  # tokens are locked with it at once: it must outlive a power cut as they do
    with suppress(FileExistsError):
        os.link(draft, file)  # whole or not at all, and never over the key of another process
    draft.unlink()
