"""Checks of this machine: Python, folders, the encoder, skills, the database, environment variables."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from reelq import skills
from reelq.cli.doctor.findings import CheckContext, Finding, Variable, ok, warning, wrong
from reelq.cli.views.text import NOT_SHOWN, without_password
from reelq.errors import SettingsError
from reelq.manifest.columns import nearest
from reelq.nemo.identity import CLIENT_ID_FILE
from reelq.settings import DESCRIPTIONS, Settings
from reelq.store.db import migrations
from reelq.store.db.engine import Store, database_url
from reelq.store.db.readonly import database_message, open_read_only, safe_address
from reelq.store.db.vault import KEY_FILE
from reelq.store.queries.account import check_key

_ENOUGH_GB: Final = 2
_GB: Final = 1_000_000_000
_ENCODER_SECONDS: Final = 5
_SKEW_SECONDS: Final = 60
_NETWORK_TYPES: Final = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs")
_CLIENT_ID: Final = "NEMO_CLIENT_ID"
"""Treated as a secret: it is enough to ask for the account's next token."""
_PREFIXES: Final = ("REELQ_", "NEMO_")
_TEST_PREFIXES: Final = ("REELQ_TEST_", "REELQ_PROVE")


def check_python(_context: CheckContext) -> Iterator[Finding]:
    """Report the versions of reelq and Python. An older Python can't import reelq at all."""
    python = f"Python {platform.python_version()} on {platform.system()} ({sys.executable})"
    yield ok("python", f"reelq {version('reelq')} with {python}")


def check_folders(context: CheckContext) -> Iterator[Finding]:
    """Check the folders of the database and the results: writable, and enough space."""
    yield _folder("data folder", context.settings.reelq_data_dir, "set REELQ_DATA_DIR to another folder")
    yield _folder("output folder", context.out, "choose another folder with --out")


def _folder(about: str, folder: Path, alternative: str) -> Finding:
    existing = folder.absolute()
    while not os.path.lexists(existing) and existing != existing.parent:
        existing = existing.parent
    if reason := _why_not_writable(existing):
        what = f"{folder} can't be written to: {reason}"
        return wrong(about, what, f"Give this user write permission, or {alternative}.")
    free = shutil.disk_usage(existing).free / _GB
    if free < _ENOUGH_GB:
        what = f"{folder} has only {free:.1f} GB left"
        return warning(about, what, f"Free disk space: with less than {_ENOUGH_GB} GB, downloads will fail.")
    note = "" if existing == folder.absolute() else ", created on first use"
    return ok(about, f"{folder} ({free:,.0f} GB free{note})")


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


def check_encoder(_context: CheckContext) -> Iterator[Finding]:
    """Check ffmpeg, with which the sandbox makes its videos. Real work does not need it."""
    about, only = "encoder", "only `--sandbox` needs it"
    if not all(map(find_spec, ("imageio_ffmpeg", "PIL", "python_multipart", "starlette", "uvicorn"))):
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


def check_skills(context: CheckContext) -> Iterator[Finding]:
    """Check that all skills can be loaded, the user's own among them."""
    known = skills.load([context.settings.reelq_data_dir / "skills"])
    advice = "Fix that line; until then, rows with this skill are refused."
    for name, reason in known.broken.items():
        yield warning("skills", f"{name} can't be used: {reason}", advice)
    yield ok("skills", f"{len(known)} can be used")


def check_database(context: CheckContext) -> Iterator[Finding]:
    """Check all of the database that can be checked without writing."""
    try:
        url = database_url(context.settings)
    except SettingsError as error:
        advice = "Correct it (postgresql://USER:PASSWORD@HOST/NAME), or unset it to use SQLite."
        yield wrong("database", str(error), advice)
        return
    try:
        with open_read_only(context.settings) as store:
            if store is None:
                yield ok("database", f"{safe_address(url)}: none yet, created on first use")
            else:
                yield from _check_version(context, store)
    except Exception as error:
        if not (message := database_message(error)):
            raise
        what = f"{safe_address(url)} can't be used: {message}"
        yield wrong("database", what, "Start it, or correct REELQ_DATABASE_URL.")
    yield from _check_location(context)


def _check_version(context: CheckContext, store: Store) -> Iterator[Finding]:
    found = migrations.revision(store)
    newest = migrations.newest()
    if found == newest:
        yield ok("database", f"{safe_address(store.url)} (version {found})")
        if not store.is_sqlite:
            with store.read() as session:
                yield from check_clock(time.time() - store.now(session).timestamp(), "the database's")
        yield _check_key(context, store)
    elif found is not None and migrations.is_newer(found):
        what = f"{safe_address(store.url)} was upgraded by a newer reelq (version {found}; this one supports {newest})"
        yield wrong("database", what, "Update reelq on this machine.")
    else:
        what = f"{safe_address(store.url)} is at version {found or 'none'}; this reelq requires {newest}"
        if store.is_sqlite:
            yield warning("database", what, "The next command migrates it, or run `reelq db upgrade` now.")
        else:
            yield wrong("database", what, "Run `reelq db upgrade`.")


def check_clock(skew: float, whose: str) -> Iterator[Finding]:
    """Warn if this machine's clock and another differ too much. Which of them is right can't be known here."""
    if abs(skew) > _SKEW_SECONDS:
        size = f"{abs(skew) / 3600:.1f} hours" if abs(skew) > 2 * 3600 else f"{abs(skew) / 60:.0f} minutes"
        what = f"this machine's clock is {size} {'ahead of' if skew > 0 else 'behind'} {whose}"
        advice = "Synchronize it (timedatectl set-ntp true); waits and token expiry depend on it."
        yield warning("clock", what, advice)


def _check_key(context: CheckContext, store: Store) -> Finding:
    if context.settings.reelq_secret_key is None and not store.is_sqlite:
        advice = "Set REELQ_SECRET_KEY, the same on every machine that uses this database."
        return wrong("key", "REELQ_SECRET_KEY is not set, and the database is shared", advice)
    try:
        count = check_key(store, context.settings)
    except SettingsError as error:
        advice = "Set REELQ_SECRET_KEY to the key that was in use, or put secret.key back into the data folder."
        return wrong("key", str(error), advice)
    return ok("key", f"decrypts {'the one token' if count == 1 else f'all {count} tokens'} in the database")


def _check_location(context: CheckContext) -> Iterator[Finding]:
    """Check the limits of a SQLite file: network drives, and workers on other machines."""
    if context.settings.reelq_database_url is not None:
        return
    if kind := _network_type(context.settings.reelq_data_dir):
        what = f"the data folder is on a network drive ({kind}), where SQLite's locks are unreliable"
        advice = "Set REELQ_DATA_DIR to a folder on a local disk, or use PostgreSQL (REELQ_DATABASE_URL)."
        yield warning("database", what, advice)
    if context.settings.reelq_broker_url is not None:
        what = "a broker is set, but the database is a file on this machine: workers elsewhere can't share it"
        advice = "Fine with workers on one machine; for more, use PostgreSQL (REELQ_DATABASE_URL)."
        yield warning("database", what, advice)


def _network_type(folder: Path) -> str:
    """The type of the network file system that a folder is on, else an empty string. Works on Linux only."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text("utf-8", "replace").splitlines()]
    except OSError:
        return ""
    path = folder.absolute()
    mounted = ((len(point), kind) for _, point, kind, *_ in mounts if path.is_relative_to(point))
    kind = max(mounted, default=(0, ""))[1]
    return kind if kind.startswith(_NETWORK_TYPES) else ""


def variables(context: CheckContext) -> list[Variable]:
    """All variables that reelq reads."""
    values = _set_variables(context.environment)
    return [_variable(context, name, meaning, values.get(name, "")) for name, meaning in DESCRIPTIONS.items()]


def check_variables(context: CheckContext) -> Iterator[Finding]:
    """Check for variables that can't be parsed, and for unknown ones with our prefixes."""
    values = _set_variables(context.environment)
    for name, takes in context.wrong.items():
        is_secret = "SecretStr" in str(Settings.model_fields[name.lower()].annotation)
        displayed = _display(name, SecretStr(values[name]) if is_secret else values[name])
        yield wrong("environment", f"{name} is invalid: {displayed}", f"Expected {takes}; correct or unset it.")
    candidates = [name for name in values if name.startswith(_PREFIXES) and not name.startswith(_TEST_PREFIXES)]
    for name in sorted(set(candidates) - DESCRIPTIONS.keys()):
        close = nearest(name, list(DESCRIPTIONS), 0.7)
        hint = f"Did you mean {close}?" if close else "Unset it, or list all settings with `reelq doctor --all`."
        yield warning("environment", f"{name} is set, but is not a reelq setting", hint)
    if not context.wrong:
        count = sum(name in values for name in DESCRIPTIONS)
        yield ok("environment", f"{count} of {len(DESCRIPTIONS)} variables are set")


def _set_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that are set, with names in capitals, as the settings read them. An empty one counts as unset."""
    return {name.upper(): value for name, value in environment.items() if value}


def _variable(context: CheckContext, name: str, meaning: str, raw: str) -> Variable:
    settings, value = context.settings, getattr(context.settings, name.lower())
    if name in context.wrong:
        return Variable(name, "(invalid)", "environment", meaning, is_set=True)
    if raw:
        return Variable(name, _display(name, value), "environment", meaning, is_set=True)
    key_files = {"REELQ_SECRET_KEY": settings.reelq_data_dir / KEY_FILE, _CLIENT_ID: Path.home() / CLIENT_ID_FILE}
    displayed, source = "-" if value in {None, ""} else _display(name, value), "default"
    if file := key_files.get(name):
        displayed, source = (NOT_SHOWN, f"kept in {file}") if file.exists() else ("-", "created on first use")
    elif name == "REELQ_DATABASE_URL":
        displayed, source = "-", "default: SQLite in the data folder"
    return Variable(name, displayed, source, meaning, is_set=False)


def _display(name: str, value: object) -> str:
    if name.endswith("_URL"):
        return without_password(value.get_secret_value() if isinstance(value, SecretStr) else str(value))
    if isinstance(value, SecretStr) or name == _CLIENT_ID:
        return NOT_SHOWN
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:g}" if isinstance(value, float) else str(value)
