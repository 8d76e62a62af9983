"""This machine: Python, folders and room in them, the encoder, the skills."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from reelq import skills
from reelq.cli.doctor.finding import Finding, Patient, ok, warning, wrong

ENOUGH_GB: Final = 2
_GB: Final = 1_000_000_000
_OLDEST: Final = (3, 11)
_ENCODER_SECONDS: Final = 5


def check_python(_patient: Patient) -> Iterator[Finding]:
    """The interpreter, and which reelq it runs."""
    told = f"reelq {version('reelq')} with Python {platform.python_version()} on {platform.system()}"
    if sys.version_info < _OLDEST:
        yield wrong("python", told, "reelq needs Python 3.11 or newer: make its environment again with one.")
    else:
        yield ok("python", f"{told} ({sys.executable})")


def check_folders(patient: Patient) -> Iterator[Finding]:
    """Where the database and the results go."""
    data = patient.settings.reelq_data_dir
    yield from _folder("data folder", data, "Give this user permission there, or set REELQ_DATA_DIR to another folder.")
    yield from _folder("output folder", patient.out, "Give permission there, or choose another folder with --out.")


def _folder(about: str, folder: Path, mend: str) -> Iterator[Finding]:
    there = _nearest(folder.absolute())
    if why := _closed(there):
        yield wrong(about, f"{folder} can't be written to: {why}", mend)
        return
    free = shutil.disk_usage(there).free / _GB
    if free < ENOUGH_GB:
        what = f"{folder} has only {free:.1f} GB left"
        yield warning(about, what, f"Make room: with less than {ENOUGH_GB} GB, downloads of finished videos will fail.")
        return
    made = "" if there == folder.absolute() else ", made when it is needed"
    yield ok(about, f"{folder} ({free:,.0f} GB free{made})")


def _nearest(folder: Path) -> Path:
    """The folder itself, or what there is of the way to it."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    return folder


def _closed(there: Path) -> str:
    """Why nothing can be written there; permission bits alone don't tell. Nothing is left behind."""
    if not there.is_dir():
        return f"{there} is not a folder"
    try:
        with tempfile.TemporaryFile(dir=there, prefix=".reelq-"):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def check_encoder(_patient: Patient) -> Iterator[Finding]:
    """What makes the sandbox's videos; real work needs none."""
    about, only = "encoder", "only `--sandbox` needs it"
    missing = [
        name for name in ("imageio_ffmpeg", "PIL", "python_multipart", "starlette", "uvicorn") if not find_spec(name)
    ]
    if missing:
        yield warning(about, f"the sandbox is not installed ({only})", "pip install 'reelq[sandbox]'")
        return
    from sandbox.media import ffmpeg

    mend = (
        "Install ffmpeg and set IMAGEIO_FFMPEG_EXE to its path, or unset that variable to use the one that came along."
    )
    program = ffmpeg()
    why = "there is none for this machine" if program is None else _runs(program)
    yield warning(about, f"no ffmpeg: {why} ({only})", mend) if why else ok(about, f"{program} ({only})")


def _runs(program: str) -> str:
    """Why it does not run; empty where it does."""
    try:
        done = subprocess.run([program, "-version"], capture_output=True, timeout=_ENCODER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"{program} does not answer"
    except OSError as error:
        return f"{program}: {error.strerror}"
    return f"{program} ends with {done.returncode}" if done.returncode else ""


def check_skills(patient: Patient) -> Iterator[Finding]:
    """The profiles, those of the user's own above all."""
    known = skills.load([patient.settings.reelq_data_dir / "skills"])
    for name, why in known.broken.items():
        yield warning(
            "skills", f"{name} can't be used: {why}", "Mend that line; rows that ask for it are refused until then."
        )
    yield ok("skills", f"{len(known)} can be used")
