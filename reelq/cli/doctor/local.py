"""Checks of this machine: Python, folders, the encoder, skills, the database, environment variables."""

import difflib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from reelq import skills
from reelq.cli.doctor.finding import CheckContext, Finding, ok, warning, wrong
from reelq.cli.views.text import NOT_SHOWN, without_password
from reelq.errors import SettingsError
from reelq.nemo.identity import CLIENT_ID_FILE
from reelq.settings import DESCRIPTIONS, Settings
from reelq.store.db import migrations
from reelq.store.db.engine import Store, database_url
from reelq.store.db.readonly import database_message, open_read_only, safe_address
from reelq.store.db.vault import KEY_FILE
from reelq.store.queries.account import check_key

ENOUGH_GB: Final = 2
_GB: Final = 1_000_000_000
_OLDEST_PYTHON: Final = (3, 11)
_ENCODER_SECONDS: Final = 5


def check_python(_patient: CheckContext) -> Iterator[Finding]:
    """Check the version of Python, and report that of reelq."""
    description = f"reelq {version('reelq')} with Python {platform.python_version()} on {platform.system()}"
    if sys.version_info < _OLDEST_PYTHON:
        yield wrong("python", description, "reelq needs Python 3.11 or newer: recreate the environment with it.")
    else:
        yield ok("python", f"{description} ({sys.executable})")


def check_folders(patient: CheckContext) -> Iterator[Finding]:
    """Check the folders of the database and the results: writable, and enough space."""
    data = patient.settings.reelq_data_dir
    yield from _folder("data folder", data, "Give this user write permission, or set REELQ_DATA_DIR to another folder.")
    yield from _folder(
        "output folder", patient.out, "Give this user write permission, or choose another folder with --out."
    )


def _folder(about: str, folder: Path, advice: str) -> Iterator[Finding]:
    existing = _nearest_existing(folder.absolute())
    if reason := _why_not_writable(existing):
        yield wrong(about, f"{folder} can't be written to: {reason}", advice)
        return
    free = shutil.disk_usage(existing).free / _GB
    if free < ENOUGH_GB:
        what = f"{folder} has only {free:.1f} GB left"
        yield warning(about, what, f"Free disk space: with less than {ENOUGH_GB} GB, downloads will fail.")
        return
    note = "" if existing == folder.absolute() else ", created on first use"
    yield ok(about, f"{folder} ({free:,.0f} GB free{note})")


def _nearest_existing(folder: Path) -> Path:
    """The folder itself, or its nearest parent that exists."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    return folder


def _why_not_writable(folder: Path) -> str:
    """Why the folder can't be written to, else an empty string.

    Tries it with a temporary file, which is gone afterwards: permission bits alone don't tell.
    """
    if not folder.is_dir():
        return f"{folder} is not a folder"
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".reelq-"):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def check_encoder(_patient: CheckContext) -> Iterator[Finding]:
    """Check ffmpeg, with which the sandbox makes its videos. Real work does not need it."""
    about, only = "encoder", "only `--sandbox` needs it"
    missing = [
        name for name in ("imageio_ffmpeg", "PIL", "python_multipart", "starlette", "uvicorn") if not find_spec(name)
    ]
    if missing:
        yield warning(about, f"the sandbox is not installed ({only})", "pip install 'reelq[sandbox]'")
        return
    from sandbox.media import ffmpeg

    advice = "Install ffmpeg and set IMAGEIO_FFMPEG_EXE to its path, or unset it to use the bundled ffmpeg."
    program = ffmpeg()
    reason = "there is none for this machine" if program is None else _why_not_running(program)
    yield warning(about, f"no ffmpeg: {reason} ({only})", advice) if reason else ok(about, f"{program} ({only})")


def _why_not_running(program: str) -> str:
    """Why the program does not run, else an empty string."""
    try:
        done = subprocess.run([program, "-version"], capture_output=True, timeout=_ENCODER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"{program} does not respond"
    except OSError as error:
        return f"{program}: {error.strerror}"
    return f"{program} exits with code {done.returncode}" if done.returncode else ""


def check_skills(patient: CheckContext) -> Iterator[Finding]:
    """Check that all skills can be loaded, the user's own among them."""
    known = skills.load([patient.settings.reelq_data_dir / "skills"])
    for name, reason in known.broken.items():
        yield warning(
            "skills", f"{name} can't be used: {reason}", "Fix that line; until then, rows with this skill are refused."
        )
    yield ok("skills", f"{len(known)} can be used")


ABOUT_DATABASE: Final = "database"
SKEW_SECONDS: Final = 60
_NETWORK_TYPES: Final = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs")


def check_database(patient: CheckContext) -> Iterator[Finding]:
    """Check all of the database that can be checked without writing."""
    try:
        url = database_url(patient.settings)
    except SettingsError as error:
        yield wrong(
            ABOUT_DATABASE, str(error), "Correct it (postgresql://USER:PASSWORD@HOST/NAME), or unset it to use SQLite."
        )
        return
    try:
        with open_read_only(patient.settings) as store:
            if store is None:
                yield ok(ABOUT_DATABASE, f"{safe_address(url)}: none yet, created on first use")
            else:
                yield from _check_version(patient, store)
    except Exception as error:
        if not (message := database_message(error)):
            raise
        yield wrong(
            ABOUT_DATABASE, f"{safe_address(url)} can't be used: {message}", "Start it, or correct REELQ_DATABASE_URL."
        )
    yield from _check_location(patient)


def _check_version(patient: CheckContext, store: Store) -> Iterator[Finding]:
    found = migrations.revision(store)
    newest = migrations.newest()
    if found == newest:
        yield ok(ABOUT_DATABASE, f"{safe_address(store.url)} (version {found})")
        yield from _check_clock(store)
        yield _check_key(patient, store)
    elif found is not None and migrations.is_newer(found):
        what = f"{safe_address(store.url)} was upgraded by a newer reelq (version {found}; this one supports {newest})"
        yield wrong(ABOUT_DATABASE, what, "Update reelq on this machine.")
    else:
        what = f"{safe_address(store.url)} is at version {found or 'none'}; this reelq requires {newest}"
        if store.is_sqlite:
            yield warning(ABOUT_DATABASE, what, "The next command migrates it, or run `reelq db upgrade` now.")
        else:
            yield wrong(ABOUT_DATABASE, what, "Run `reelq db upgrade`.")


def _check_clock(store: Store) -> Iterator[Finding]:
    if store.is_sqlite:
        return
    with store.read() as session:
        skew = time.time() - store.now(session).timestamp()
    if abs(skew) > SKEW_SECONDS:
        yield clock_warning(skew, "the database's")


def clock_warning(skew: float, whose: str) -> Finding:
    """A warning that the clocks differ. Which of them is right can't be known here."""
    size = f"{abs(skew) / 3600:.1f} hours" if abs(skew) > 2 * 3600 else f"{abs(skew) / 60:.0f} minutes"
    what = f"this machine's clock is {size} {'ahead of' if skew > 0 else 'behind'} {whose}"
    advice = "Synchronize it (timedatectl set-ntp true); waits and token expiry depend on it."
    return warning("clock", what, advice)


def _check_key(patient: CheckContext, store: Store) -> Finding:
    if patient.settings.reelq_secret_key is None and not store.is_sqlite:
        advice = "Set REELQ_SECRET_KEY, the same on every machine that uses this database."
        return wrong("key", "REELQ_SECRET_KEY is not set, and the database is shared", advice)
    try:
        count = check_key(store, patient.settings)
    except SettingsError as error:
        advice = "Set REELQ_SECRET_KEY to the key that was in use, or put secret.key back into the data folder."
        return wrong("key", str(error), advice)
    return ok("key", f"opens {'the one token' if count == 1 else f'all {count} tokens'} in the database")


def _check_location(patient: CheckContext) -> Iterator[Finding]:
    """Check the limits of a SQLite file: network drives, and workers on other machines."""
    if patient.settings.reelq_database_url is not None:
        return
    advice = "Set REELQ_DATA_DIR to a folder on a local disk, or use PostgreSQL (REELQ_DATABASE_URL)."
    if kind := _network_type(patient.settings.reelq_data_dir):
        yield warning(
            ABOUT_DATABASE,
            f"the data folder is on a network drive ({kind}), where SQLite's locks are unreliable",
            advice,
        )
    if patient.settings.reelq_broker_url is not None:
        what = "a broker is set, but the database is a file on this machine: workers elsewhere can't share it"
        yield warning(
            ABOUT_DATABASE,
            what,
            "Fine with workers on one machine; for more, use PostgreSQL (REELQ_DATABASE_URL).",
        )


def _network_type(folder: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """The type of the network file system that a folder is on, else an empty string. Works on Linux only."""
    try:
        lines = [line.split() for line in mounts.read_text("utf-8", "replace").splitlines()]
    except OSError:
        return ""
    mounted = [
        (len(mount_point), kind) for _, mount_point, kind, *_ in lines if folder.absolute().is_relative_to(mount_point)
    ]
    kind = max(mounted, default=(0, ""))[1]
    return kind if kind.startswith(_NETWORK_TYPES) else ""


ABOUT_ENVIRONMENT: Final = "environment"
_CLIENT_ID: Final = "NEMO_CLIENT_ID"
"""Treated as a secret: it is enough to ask for the account's next token."""
_PREFIXES: Final = ("REELQ_", "NEMO_")
_TEST_PREFIXES: Final = ("REELQ_TEST_", "REELQ_PROVE")


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable as this process would use it."""

    name: str
    value: str
    source: str
    meaning: str
    is_set: bool


def variables(patient: CheckContext) -> list[Variable]:
    """All variables that reelq reads."""
    values = _set_variables(patient.environment)
    return [_variable(patient, name, meaning, values.get(name, "")) for name, meaning in DESCRIPTIONS.items()]


def check_variables(patient: CheckContext) -> Iterator[Finding]:
    """Check for variables that can't be parsed, and for unknown ones with our prefixes."""
    values = _set_variables(patient.environment)
    for name, takes in patient.wrong.items():
        displayed = _display(name, SecretStr(values[name]) if _is_secret(patient.settings, name) else values[name])
        yield wrong(ABOUT_ENVIRONMENT, f"{name} is invalid: {displayed}", f"Expected {takes}; correct or unset it.")
    candidates = [name for name in values if name.startswith(_PREFIXES) and not name.startswith(_TEST_PREFIXES)]
    for name in sorted(set(candidates) - DESCRIPTIONS.keys()):
        close = difflib.get_close_matches(name, DESCRIPTIONS, n=1, cutoff=0.7)
        hint = f"Did you mean {close[0]}?" if close else "Unset it, or list all settings with `reelq doctor --all`."
        yield warning(ABOUT_ENVIRONMENT, f"{name} is set, but is not a reelq setting", hint)
    if not patient.wrong:
        yield ok(
            ABOUT_ENVIRONMENT,
            f"{sum(name in values for name in DESCRIPTIONS)} of {len(DESCRIPTIONS)} variables are set",
        )


def _set_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that are set, with names in capitals, as the settings read them. An empty one counts as unset."""
    return {name.upper(): value for name, value in environment.items() if value}


def _variable(patient: CheckContext, name: str, meaning: str, raw: str) -> Variable:
    value = getattr(patient.settings, name.lower())
    if name in patient.wrong:
        return Variable(name, "(invalid)", "environment", meaning, is_set=True)
    if raw:
        return Variable(name, _display(name, value), "environment", meaning, is_set=True)
    displayed, source = _default_display(patient.settings, name, value)
    return Variable(name, displayed, source, meaning, is_set=False)


def _default_display(settings: Settings, name: str, value: object) -> tuple[str, str]:
    key_files = {"REELQ_SECRET_KEY": settings.reelq_data_dir / KEY_FILE, _CLIENT_ID: Path.home() / CLIENT_ID_FILE}
    if name in key_files:
        return (NOT_SHOWN, f"kept in {key_files[name]}") if key_files[name].exists() else ("-", "created on first use")
    if name == "REELQ_DATABASE_URL":
        return "-", "default: SQLite in the data folder"
    return "-" if value in {None, ""} else _display(name, value), "default"


def _display(name: str, value: object) -> str:
    if isinstance(value, SecretStr) or name == _CLIENT_ID:
        return (
            without_password(value.get_secret_value())
            if isinstance(value, SecretStr) and name.endswith("_URL")
            else NOT_SHOWN
        )
    if name.endswith("_URL"):
        return without_password(str(value))
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_secret(settings: Settings, name: str) -> bool:
    return name == _CLIENT_ID or "SecretStr" in str(type(settings).model_fields[name.lower()].annotation)
