"""A piece of a test in a process of its own, forked from the tests': what it imports is there already."""

import os
import warnings
from collections.abc import Callable


class Forked:
    """The process; it ends with the piece, and never comes back into the tests."""

    def __init__(self, act: Callable[[], str]) -> None:
        reading, writing = os.pipe()
        with warnings.catch_warnings():  # newer Pythons warn of threads, of which the child uses none
            warnings.simplefilter("ignore", DeprecationWarning)
            self._id = os.fork()
        if self._id == 0:
            try:
                os.write(writing, act().encode())
            finally:
                os._exit(0)
        os.close(writing)
        self._said = reading

    def end(self) -> tuple[str, int]:
        """What it said, and its exit code: minus the number of the signal that killed it."""
        with os.fdopen(self._said) as said:
            words = said.read()
        _, status = os.waitpid(self._id, 0)
        return words, os.waitstatus_to_exitcode(status)
