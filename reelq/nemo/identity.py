"""Who we are to the service: this installation's client id, and the token that we send."""

import os
import threading
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from reelq import errors
from reelq.settings import Settings

CLIENT_ID_FILE: Final = Path(".config", "nemovideo", "client_id")


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token. `version` rises with each renewal, so a late refusal of an old token renews nothing."""

    secret: SecretStr
    version: int = 1


def client_id(settings: Settings, home: Path | None = None) -> str:
    """This installation's client id: from the settings, else the stored one, else a new one that is stored.

    The id never changes: a new one per request would run into the service's limit of tokens per address.
    """
    if settings.nemo_client_id:
        return settings.nemo_client_id
    try:
        file = (home or Path.home()) / CLIENT_ID_FILE
    except RuntimeError:  # a container's user without a name or a home folder
        raise errors.ClientIdMissing("The client id can't be kept: this user has no home folder") from None
    try:
        return _read_id(file) or _store_id(file, str(uuid.uuid4()))
    except OSError as error:
        raise errors.ClientIdMissing(f"The client id can't be kept in {file}: {error.strerror}") from None


def _read_id(file: Path) -> str:
    try:
        text = file.read_text("ascii", "ignore").strip()
    except FileNotFoundError:
        return ""
    return text if text.isprintable() and " " not in text else ""


def _store_id(file: Path, new_id: str) -> str:
    """Store a new id and return it; if another process was first, return the id that it stored."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists() and not _read_id(file):
        file.unlink(missing_ok=True)  # empty or invalid: no process has read an id from it
    temporary = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}")
    temporary.write_text(f"{new_id}\n", "ascii")
    try:
        with suppress(FileExistsError):
            os.link(temporary, file)  # a link appears complete or not at all, and never replaces a file
    finally:
        temporary.unlink()
    return _read_id(file) or new_id
