"""`make` on a machine that is not ready: it says what is missing, and begins afresh once that is mended."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKE = shutil.which("make")

pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile and the locks, and a PATH with nothing on it that was not put there."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "locks", tmp_path / "locks")
    (tmp_path / "path").mkdir()
    for tool in ("mkdir", "ln"):
        (tmp_path / "path" / tool).symlink_to(str(shutil.which(tool)))
    return tmp_path


def python3(checkout: Path, *lines: str) -> None:
    """Put a python3 on the PATH that is this script."""
    script = checkout / "path" / "python3"
    script.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    script.chmod(0o755)


def make(checkout: Path, target: str) -> "subprocess.CompletedProcess[str]":
    # What the outer make handed on through the environment is its own affair.
    env = {**{name: text for name, text in os.environ.items() if "MAKE" not in name}, "PATH": str(checkout / "path")}
    return subprocess.run(
        [str(MAKE), target], cwd=checkout, env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_without_a_python_it_says_which_one_it_wants_and_how_to_name_it(checkout: Path) -> None:
    done = make(checkout, "demo")
    assert done.returncode == 2
    assert "needs Python 3.11 or newer, and there is no python3 here" in done.stderr
    assert "make PYTHON=python3.12 demo" in done.stderr


def test_an_old_python_is_told_by_its_version_and_makes_nothing(checkout: Path) -> None:
    aged = "import sys; sys.version_info = (3, 8, 18)"
    python3(checkout, f'exec "{sys.executable}" -c "{aged}\n$2"')
    done = make(checkout, "setup")
    assert done.returncode == 2
    assert "needs Python 3.11 or newer, and python3 is 3.8." in done.stderr
    assert "make PYTHON=python3.12 setup" in done.stderr
    assert not (checkout / ".venv").exists()


def test_an_environment_that_could_not_be_finished_is_begun_again_the_next_time(checkout: Path) -> None:
    half_made = f'mkdir -p .venv/bin; ln -s "{sys.executable}" .venv/bin/python; echo no ensurepip; exit 1'
    python3(checkout, f'case "$*" in "-m venv"*) {half_made};; esac', f'exec "{sys.executable}" "$@"')
    for _ in range(2):
        done = make(checkout, "setup")
        assert done.returncode == 2
        assert done.stdout.splitlines()[:2] == ["Setting up .venv …", "no ensurepip"]
