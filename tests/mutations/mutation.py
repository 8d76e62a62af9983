"""One way to break the engine, and the tests that have to notice."""

from dataclasses import dataclass
from pathlib import Path


class Outdated(Exception):
    """The code has moved on: the mutation has to move along with it."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """A plausible bug. `name` says what is wrong with it in place."""

    area: str
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    """Patterns of test files and folders, the quickest ones that notice."""

    def applied_to(self, source: str) -> str:
        """The file's text with the bug in it; Outdated where the old text is not there exactly once."""
        count = source.count(self.old)
        if count != 1:
            raise Outdated(f"{self.name}: {self.file} has the old text {count} times, not once:\n{self.old}")
        return source.replace(self.old, self.new)

    def tests_in(self, checkout: Path) -> list[str]:
        """The test files and folders that the patterns stand for; Outdated where one of them stands for none."""
        found = [path for pattern in self.tests for path in _matches(checkout, pattern, self.name)]
        return list(dict.fromkeys(found))


def _matches(checkout: Path, pattern: str, name: str) -> list[str]:
    paths = sorted(path.relative_to(checkout).as_posix() for path in checkout.glob(pattern))
    if not paths:
        raise Outdated(f"{name}: there are no tests {pattern}")
    return paths
