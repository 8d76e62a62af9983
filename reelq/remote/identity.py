"""Who we are to the service: this installation's client id, and the token that we show."""

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
    """A bearer token; `version` rises with each renewal, so that a late refusal of an old one renews nothing."""

    secret: SecretStr
    version: int = 1


def client_id(settings: Settings, home: Path | None = None) -> str:
    """This installation's id with the service: the setting's, else the kept one, else a new one that is kept.

    One id for ever: a new one per request runs into the service's limit of tokens per address.
    """
    if settings.nemo_client_id:
        return settings.nemo_client_id
    try:
        file = (home or Path.home()) / CLIENT_ID_FILE
    except RuntimeError:  # a container's user without a name or a home
        raise errors.ClientIdMissing("The client id can't be kept: this user has no home folder") from None
    try:
        return _kept(file) or _keep(file, str(uuid.uuid4()))
    except OSError as error:
        raise errors.ClientIdMissing(f"The client id can't be kept in {file}: {error.strerror}") from None


def _kept(file: Path) -> str:
    try:
        text = file.read_text("ascii", "ignore").strip()
    except FileNotFoundError:
        return ""
    return text if text.isprintable() and " " not in text else ""


def _keep(file: Path, fresh: str) -> str:
    """Put `fresh` into the file, unless another process was first: then the id is what that one kept."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists() and not _kept(file):
        file.unlink(missing_ok=True)  # empty or garbage: no id was ever read from it
    draft = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}")
    draft.write_text(f"{fresh}\n", "ascii")
    try:
        with suppress(FileExistsError):
            os.link(draft, file)  # a link is made whole or not at all, and never over another
    finally:
        draft.unlink()
    return _kept(file) or fresh
