"""`--sandbox`: runs the stand-in service for the duration of one command, with a database of its own."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import click
from pydantic import SecretStr

from reelq.errors import SettingsError
from reelq.settings import Settings

SERVICE: Final = "sandbox"
"""The service's name in row keys. Its address differs in each run, but to the user it is the same service."""
DATABASE: Final = "sandbox.db"
SPEED: Final = 40
_CREDITS: Final = 100_000
_REQUIRED_MODULES: Final = ("uvicorn", "starlette", "imageio_ffmpeg")
_SCALED_WAITS: Final = (
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
    """Run a sandbox inside the block, and yield the settings for it.

    They have no broker, no token, a database of their own, and waits scaled to the sandbox's speed.
    """
    scaled = {name: getattr(settings, name) / SPEED for name in _SCALED_WAITS if name not in settings.model_fields_set}
    # A client id is given, so that the real one in the home folder is neither read nor created.
    account = {"nemo_token": None, "nemo_client_id": settings.nemo_client_id or SERVICE}
    with _exclusive_lock(settings.reelq_data_dir), _running_service() as address:
        yield database_settings(settings).model_copy(update={**scaled, **account, "nemo_api_url": address})


def database_settings(settings: Settings) -> Settings:
    """Adapt settings to the sandbox's database only, to look at batches whose sandbox has ended."""
    database = SecretStr(f"sqlite:///{settings.reelq_data_dir / DATABASE}")
    return settings.model_copy(update={"reelq_broker_url": None, "reelq_database_url": database})


def has_database(settings: Settings) -> bool:
    """Whether anything has been run with the sandbox yet."""
    return (settings.reelq_data_dir / DATABASE).is_file()


@contextmanager
def _exclusive_lock(folder: Path) -> Iterator[None]:
    """Allow one sandbox at a time: a second stand-in would not know the sessions that are open at the first.

    The lock is SQLite's: it works the same on every system, and is released when the process that holds it ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / f"{DATABASE}.lock", timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            message = f"another `reelq run --sandbox` is running in {folder}; wait for it or stop it"
            raise SettingsError(f"REELQ_DATA_DIR: {message}") from None
        yield


@contextmanager
def _running_service() -> Iterator[str]:
    """Run the stand-in and yield its address.

    It runs in a session of its own: Ctrl-C reaches only us, and the stand-in has to outlive our own shutdown.
    """
    missing = [name for name in _REQUIRED_MODULES if find_spec(name) is None]
    if missing:
        raise click.ClickException(f"The sandbox needs {', '.join(missing)}: pip install 'reelq[sandbox]'")
    options = ["--port", "0", "--speed", str(SPEED), "--credits", str(_CREDITS), "--end-with-stdin"]
    # -P: don't import a folder named sandbox in the current directory.
    command, pipe = [sys.executable, "-P", "-m", "sandbox", *options], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as process:
        try:
            if process.stdout is None or not (ready := process.stdout.readline()):
                raise click.ClickException("The sandbox did not start; run `reelq sandbox --port 0` to see why")
            yield ready.split()[-1]
        finally:
            process.terminate()
