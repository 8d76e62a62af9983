"""Encrypts secrets that the database stores, with a key that is never in the database."""

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
_MIN_KEY_LENGTH: Final = 16


class Vault:
    """Encrypts and decrypts secrets."""

    def __init__(self, key: str) -> None:
        self._fernet = Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()))

    def lock(self, secret: SecretStr) -> bytes:
        """Encrypt a secret for the database."""
        return self._fernet.encrypt(secret.get_secret_value().encode())

    def unlock(self, encrypted: bytes) -> SecretStr:
        """Decrypt a secret; raises SettingsError if it was encrypted with another key."""
        try:
            return SecretStr(self._fernet.decrypt(encrypted).decode())
        except InvalidToken:
            raise SettingsError(
                "REELQ_SECRET_KEY: the tokens in the database were encrypted with another key"
            ) from None


def open_vault(settings: Settings, *, local: bool) -> Vault:
    """The vault of this installation.

    With a database on this machine (`local`), a key is created if none is configured, and kept in the data folder.
    """
    if settings.reelq_secret_key is not None:
        key = settings.reelq_secret_key.get_secret_value()
        if len(key) < _MIN_KEY_LENGTH:
            raise SettingsError(f"REELQ_SECRET_KEY: must have at least {_MIN_KEY_LENGTH} characters")
        return Vault(key)
    if not local:
        raise SettingsError("REELQ_SECRET_KEY: must be set, and be the same on every machine that shares the database")
    return Vault(_read_key(settings.reelq_data_dir / KEY_FILE))


def _read_key(file: Path) -> str:
    """The key in the file, which is created first if it does not exist."""
    if not file.exists():
        _create_key(file)
    key = file.read_text().strip()
    if len(key) < _MIN_KEY_LENGTH:  # an empty key would encrypt, and anybody could decrypt
        raise SettingsError(
            f"{file}: this is not a valid key; restore the right one, or delete the file and its database"
        )
    return key


def _create_key(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(secrets.token_urlsafe(32))
        out.flush()
        os.fsync(out.fileno())  # tokens are encrypted with it at once, so it must survive a power cut as they do
    with suppress(FileExistsError):
        os.link(draft, file)  # atomic, and never over the key of another process
    draft.unlink()
