"""Python begins with this where PYTHONPATH leads here: what an image does not have can't be imported."""

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

ABSENT = frozenset(os.environ["LEAN_ABSENT"].split(","))


class Absent(MetaPathFinder):
    """Refuses them before anybody else is asked."""

    def find_spec(self, name: str, path: Sequence[str] | None, _: ModuleType | None = None) -> ModuleSpec | None:
        """Never one; ModuleNotFoundError where the name is one of them."""
        if path is None and name in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r} in this image", name=name)
        return None


sys.meta_path.insert(0, Absent())
