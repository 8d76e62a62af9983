"""`--sandbox`: the stand-in service for as long as one command needs it, with a database of its own."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import click
from pydantic import SecretStr

from reelq.errors import SettingsError
from reelq.settings import Settings

SERVICE: Final = "sandbox"
"""What the service is called in the keys of rows: each time it has another address, and is the same to the user."""
DATABASE: Final = "sandbox.db"
SPEED: Final = 40
_CREDITS: Final = 100_000
_NEEDS: Final = ("uvicorn", "starlette", "imageio_ffmpeg")
_SCALED: Final = (
    "reelq_poll_interval",
    "reelq_rate_limit_wait",
    "reelq_edit_timeout",
    "reelq_silence_timeout",
    "reelq_settle_first_wait",
    "reelq_settle_wait",
    "reelq_stop_grace",
)


@contextmanager
def sandbox(settings: Settings) -> Iterator[Settings]:
    """These settings, turned to a sandbox that runs meanwhile."""
    with _alone(settings.reelq_data_dir), _running() as address:
        yield turned(settings, address)


def turned(settings: Settings, address: str) -> Settings:
    """Settings for play: no broker, no token, a database of its own, and waits as short as the stand-in's."""
    told: dict[str, Any] = {
        "nemo_api_url": address,
        "nemo_token": None,
        "nemo_client_id": settings.nemo_client_id or SERVICE,  # the real one's home may not be there, nor be touched
    }
    for name in _SCALED:
        if name not in settings.model_fields_set:
            told[name] = getattr(settings, name) / SPEED
    return kept(settings).model_copy(update=told)


def kept(settings: Settings) -> Settings:
    """These settings, turned to the database of play, for looking at what was run with a sandbox that has ended."""
    database = SecretStr(f"sqlite:///{settings.reelq_data_dir / DATABASE}")
    return settings.model_copy(update={"reelq_broker_url": None, "reelq_database_url": database})


def is_there(settings: Settings) -> bool:
    """Whether anything was ever run with the sandbox."""
    return (settings.reelq_data_dir / DATABASE).is_file()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One at a time: a second one's stand-in would know nothing of the sessions that the first one has open.

    The lock is SQLite's, which is the same on every system and is gone with the process that held it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / f"{DATABASE}.lock", timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            raise SettingsError(
                f"REELQ_DATA_DIR: another `reelq run --sandbox` is at work in {folder}; wait for it, or stop it"
            ) from None
        yield


@contextmanager
def _running() -> Iterator[str]:
    """The stand-in's address. It is in a session of its own: a Ctrl-C is for us, and it has to outlast our stopping."""
    missing = [name for name in _NEEDS if find_spec(name) is None]
    if missing:
        raise click.ClickException(f"The sandbox needs {', '.join(missing)}: pip install 'reelq[sandbox]'")
    options = ["--port", "0", "--speed", str(SPEED), "--credits", str(_CREDITS), "--end-with-stdin"]
    # -P: a folder of the user's that is called sandbox is not meant.
    command, pipe = [sys.executable, "-P", "-m", "sandbox", *options], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as process:
        try:
            if process.stdout is None or not (ready := process.stdout.readline()):
                raise click.ClickException("The sandbox did not start; `reelq sandbox --port 0` says why")
            yield ready.split()[-1]
        finally:
            process.terminate()
