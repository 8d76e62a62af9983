"""The process's temporary folder, locked while the process lives; a later start removes those left behind."""

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
    """A folder for this process alone, removed when the process ends."""
    _remove_abandoned_folders()
    # Windows can't remove an open file: what is left stays in the system's temporary folder.
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name, _locked(Path(name)):
        yield Path(name)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. The system releases it when the process ends, even if it is killed."""
    unfinished = folder / f"{_LOCK}.new"
    with unfinished.open("wb") as file:
        _acquire(file.fileno())
        # The file gets its name only once it is locked, so that no other process finds it unlocked.
        if sys.platform != "win32":
            unfinished.rename(folder / _LOCK)
        yield


def _remove_abandoned_folders() -> None:
    """Remove folders whose lock nobody holds. One without a lock is not ours, or is just being created."""
    if sys.platform == "win32":
        return
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError), lock.open("rb") as file:
            _acquire(file.fileno())
            shutil.rmtree(lock.parent, ignore_errors=True)


def _acquire(file: int) -> None:
    """Lock an open file; raises OSError if another process holds the lock."""
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
