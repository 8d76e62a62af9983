"""A copy of the checkout that can be broken: its own modules are what runs there, not those of the checkout."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.mutations.mutation import Mutation

CHECKOUT: Final = Path(__file__).parents[2]
_PACKAGES: Final = ("api", "migrations", "reelq", "sandbox", "tests", "worker")
_WHERE_THEY_ARE: Final = (
    f"import importlib.util; print(*(importlib.util.find_spec(name).origin for name in {_PACKAGES}), sep='\\n')"
)
_NO_ASSERTIONS: Final = (
    "NameError",
    "ImportError",
    "ModuleNotFoundError",
    "SyntaxError",
    "AttributeError",
    "TypeError",
)
"""What a clumsy mutation makes of the code. A test that fails by it proves nothing."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How pytest ended, and what it wrote."""

    code: int
    output: str

    @property
    def is_green(self) -> bool:
        return self.code in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}

    @property
    def killer(self) -> str:
        """The test that failed; empty where none did, or something else than a test went wrong."""
        return self._failure[0] if self.code == pytest.ExitCode.TESTS_FAILED else ""

    @property
    def crash(self) -> str:
        """The error by which the test failed, where it is one of a program that can't run."""
        reason = self._failure[1]
        return reason if reason.split(":")[0] in _NO_ASSERTIONS else ""

    @property
    def _failure(self) -> tuple[str, str]:
        failed = (line.removeprefix("FAILED ") for line in self.output.splitlines() if line.startswith("FAILED "))
        name, _, reason = next(failed, "").partition(" - ")
        return name, reason


class Copy:
    """One copy of the checkout as it is now, with what is not committed yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = os.environ | {"PYTHONPATH": str(folder), "NO_COLOR": "1", "COLUMNS": "500"}
        told = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=CHECKOUT, check=True, capture_output=True, text=True,
        )  # fmt: skip
        for name in filter(None, told.stdout.split("\0")):
            if (CHECKOUT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(CHECKOUT / name, folder / name)
        self._check_that_its_modules_run()

    def _check_that_its_modules_run(self) -> None:
        """The project is installed as editable, and so is the checkout on every path of this interpreter."""
        told = subprocess.run(
            [sys.executable, "-c", _WHERE_THEY_ARE],
            cwd=self.folder.parent, env=self._environment, check=True, capture_output=True, text=True,
        )  # fmt: skip
        elsewhere = [path for path in told.stdout.splitlines() if not Path(path).is_relative_to(self.folder)]
        if elsewhere:
            raise RuntimeError(f"the copy would run modules from elsewhere: {elsewhere}")

    def test(self, tests: Sequence[str], *options: str) -> Ran:
        """Run these tests of the copy, up to the first that fails."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *options, *tests]
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout)

    @contextmanager
    def broken(self, mutation: Mutation) -> Iterator[None]:
        """The copy with one mutation in it; whole again afterwards."""
        path = self.folder / mutation.file
        whole = path.read_text(encoding="utf-8")
        _write(path, mutation.applied_to(whole))
        try:
            yield
        finally:
            _write(path, whole)


def _write(path: Path, text: str) -> None:
    """Python takes compiled code for current if the source's second and size are the same: that is not enough here."""
    path.write_text(text, encoding="utf-8")
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
