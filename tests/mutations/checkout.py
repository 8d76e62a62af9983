"""Copies of the checkout that can be broken, and what breaks them: catalogue.diff, read."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

CHECKOUT: Final = Path(__file__).parents[2]
_GREEN: Final = {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
_PACKAGES: Final = ("api", "migrations", "reelq", "sandbox", "tests", "worker")
_WHERE_THEY_ARE: Final = (
    f"import importlib.util; print(*(importlib.util.find_spec(name).origin for name in {_PACKAGES}), sep='\\n')"
)


class Outdated(Exception):
    """The code or the tests have moved on: the mutation has to move along with them."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """A plausible bug. `name` says what is wrong with it in place."""

    area: str
    name: str
    file: str
    tests: tuple[str, ...]
    """The quickest files and folders that notice."""
    old: str
    new: str

    def applied_to(self, source: str) -> str:
        """The file's text with the bug in it; Outdated where the old lines are not there exactly once."""
        count = source.count(self.old)
        if count != 1:
            raise Outdated(f"{self.name}: {self.file} has the old lines {count} times, not once:\n{self.old}")
        return source.replace(self.old, self.new)

    def check(self) -> None:
        """Outdated where it does not fit the checkout."""
        self.applied_to((CHECKOUT / self.file).read_text(encoding="utf-8"))
        for path in self.tests:
            if not (CHECKOUT / path).exists():
                raise Outdated(f"{self.name}: there are no tests {path}")


def catalogue() -> Iterator[Mutation]:
    """Areas are headings; each mutation has its name, the file and the tests, and what changes as in a diff."""
    area = ""
    for part in Path(__file__).with_name("catalogue.diff").read_text(encoding="utf-8").rstrip().split("\n\n"):
        if part.startswith("# "):
            area = part.removeprefix("# ")
            continue
        name, where, *lines = part.split("\n")
        file, _, tests = where.partition(": ")
        old, new = ("".join(f"{line[1:]}\n" for line in lines if line[0] in kept) for kept in (" -", " +"))
        yield Mutation(area, name, file, tuple(tests.split()), old, new)


@dataclass(frozen=True, slots=True)
class Ran:
    """How pytest ended, and what it wrote."""

    code: int
    output: str

    @property
    def is_green(self) -> bool:
        return self.code in _GREEN

    @property
    def failure(self) -> tuple[str, str]:
        """The test that failed and why; empty where none did, or something else than a test went wrong."""
        failed = (line.removeprefix("FAILED ") for line in self.output.splitlines() if line.startswith("FAILED "))
        name, _, reason = next(failed, "").partition(" - ")
        return (name, reason) if self.code == pytest.ExitCode.TESTS_FAILED else ("", "")

    @property
    def end(self) -> str:
        return "\n".join(self.output.splitlines()[-30:])


class Copy:
    """One copy of the checkout as it is now, with what is not committed yet; its own modules are what runs there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = os.environ | {"PYTHONPATH": str(folder), "NO_COLOR": "1", "COLUMNS": "500"}
        for name in self._told(
            CHECKOUT, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", by="\0"
        ):
            if (CHECKOUT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(CHECKOUT / name, folder / name)
        # The project is installed as editable, and so is the checkout on every path of this interpreter.
        modules = self._told(folder.parent, sys.executable, "-c", _WHERE_THEY_ARE, by="\n")
        elsewhere = [path for path in modules if not Path(path).is_relative_to(folder)]
        if elsewhere:
            raise RuntimeError(f"the copy would run modules from elsewhere: {elsewhere}")

    def _told(self, folder: Path, *command: str, by: str) -> list[str]:
        told = subprocess.run(command, cwd=folder, env=self._environment, check=True, capture_output=True, text=True)
        return told.stdout.rstrip(by).split(by)

    def test(self, tests: tuple[str, ...], *options: str) -> Ran:
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
