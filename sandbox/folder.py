"""The process's temporary folder, locked while the process lives; a later start removes those of the killed."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import fcntl

_PREFIX: Final = "nemo-sandbox-"
_LOCK: Final = "lock"


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder of this process's own, gone when the process ends."""
    _remove_those_of_the_killed()
    # Windows can't remove a file that is still open: what is left then lies in the system's temporary folder.
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name, _locked(Path(name)):
        yield Path(name)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. The system lets go of it when the process ends, in whatever way that is."""
    unfinished = folder / f"{_LOCK}.new"
    with unfinished.open("wb") as file:
        _take(file.fileno())
        # Nobody finds a lock that is not held yet: it has its name only now.
        if sys.platform != "win32":
            unfinished.rename(folder / _LOCK)
        yield


def _remove_those_of_the_killed() -> None:
    """Remove the folders whose lock nobody holds. One without a lock is somebody else's, or just being made."""
    if sys.platform == "win32":
        return
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError), lock.open("rb") as file:
            _take(file.fileno())
            shutil.rmtree(lock.parent, ignore_errors=True)


def _take(file: int) -> None:
    """Take the lock on an open file; OSError where another process has it."""
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
