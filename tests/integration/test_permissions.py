"""Files that the user may not read. As root we look in a process that gives up being it."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from reelq import skills
from reelq.manifest import LocalFiles
from tests.integration.forked import Forked

PROFILE = "---\nname: mine\nversion: 1.2.0\ndescription: My own.\n---\n# Mine\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that everybody may enter."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_nobody(look: Callable[[], str]) -> str:
    skills.load()  # nobody may be able to import the reader either

    def act() -> str:
        if os.geteuid() == 0:
            os.setuid(65534)
        return look()

    return Forked(act).end()[0]


def test_a_file_without_permission_is_a_fault(folder: Path) -> None:
    (folder / "mine.mp4").write_bytes(b"clip")
    (folder / "mine.mp4").chmod(0)

    def look() -> str:
        facts = LocalFiles(folder).look("mine.mp4")
        return f"{facts.problem}|{facts.hint}"

    assert as_nobody(look) == "this file can't be read|Permission denied"


def notes_and_broken(folder: Path) -> list[object]:
    """What a user sees of the skills in a folder, without the built-in ones, which this user may not read."""
    with TemporaryDirectory() as none:
        loaded = skills.load([folder], built_in=Path(none))
    return [list(loaded.notes), dict(loaded.broken)]


def test_a_data_folder_without_permission_counts_as_absent_with_a_note(folder: Path) -> None:
    (data := folder / "data").mkdir(mode=0)
    told = json.loads(as_nobody(lambda: json.dumps(notes_and_broken(data / "skills"))))
    assert told == [[f"{data / 'skills'} can't be read: Permission denied"], {}]


def test_a_profile_without_permission_is_broken_and_not_absent(folder: Path) -> None:
    path = folder / "mine" / "SKILL.md"
    path.parent.mkdir()
    path.write_text(PROFILE, encoding="utf-8")
    path.parent.chmod(0)
    told = json.loads(as_nobody(lambda: json.dumps(notes_and_broken(folder))))
    path.parent.chmod(0o700)
    why = f"{path}: it can't be read: Permission denied"
    assert told == [[f"mine can't be used: {why}"], {"mine": why}]
