"""What shows in processes of their own: a kill, a signal, files without permission, what a command loads, a clip."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import imageio_ffmpeg
import pytest
import yaml
from alembic import command
from pydantic import SecretStr

from reelq import media, skills
from reelq.cli.backends.local import open_deployment
from reelq.cli.interrupts import delay_interrupt
from reelq.manifest.inputs import LocalFiles
from reelq.settings import Settings
from reelq.storage import GRACE_SECONDS, Storage, Stored
from reelq.store.db import migrations
from reelq.store.db.engine import Store, database_url
from reelq.store.db.vault import KEY_FILE, open_vault
from tests.compose import COMPOSE, compose
from tests.unit.test_compose import SECRETS


class Forked:
    """A piece of a test in a process forked from the tests': it ends with the piece, and never comes back into them."""

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


def python(script: str, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=True, timeout=60
    )


# A kill while a content is stored


CONTENT = b"a video" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def store(folder: Path, moment: str) -> str:
    """Runs in a process of its own, which it kills at this moment."""
    place = os.replace

    def chunks() -> Iterator[bytes]:
        yield CONTENT[:-7]
        if moment == "while it comes":
            die()
        yield CONTENT[-7:]

    def replace(*paths: Any) -> None:
        if moment == "after it is in its place":
            place(*paths)
        die()

    os.replace = replace  # type: ignore[assignment]
    Storage(folder).put(chunks())
    return "it lived"


@pytest.mark.parametrize(
    ("moment", "is_there"),
    [("while it comes", False), ("before it is in its place", False), ("after it is in its place", True)],
)
def test_a_process_killed_while_it_stores_leaves_all_or_nothing(tmp_path: Path, moment: str, is_there: bool) -> None:
    storage = Storage(tmp_path)
    assert Forked(lambda: store(tmp_path, moment)).end() == ("", -signal.SIGKILL)
    assert (storage.stat(SHA256) == Stored(SHA256, len(CONTENT))) is is_there
    left = list((tmp_path / "incoming").iterdir())
    assert len(left) == (not is_there)
    assert storage.sweep(time.time() - GRACE_SECONDS) == 0  # somebody may still be at it
    for path in left:
        os.utime(path, (0, 0))
    assert storage.sweep(time.time() - GRACE_SECONDS) == len(left)
    names = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert names == ([SHA256] if is_there else [])


# The key of a local database


def test_processes_that_make_the_key_at_once_agree_on_it(tmp_path: Path) -> None:
    token = SecretStr("nmv_usr_planted-secret")
    for number in range(10):
        settings = Settings(reelq_data_dir=tmp_path / str(number), reelq_secret_key=None)
        waiting, gate = os.pipe()

        def lock(settings: Settings = settings, waiting: int = waiting) -> str:
            os.read(waiting, 1)
            return open_vault(settings, local=True).lock(token).hex()

        started = [Forked(lock) for _ in range(4)]
        os.write(gate, b"    ")
        locked = [process.end()[0] for process in started]
        os.close(waiting)
        os.close(gate)
        kept = open_vault(settings, local=True)
        assert [kept.unlock(bytes.fromhex(each)) for each in locked] == [token] * 4
        assert [file.name for file in settings.reelq_data_dir.iterdir()] == [KEY_FILE]


# Files that the user may not read. As root we look in a process that gives up being it.


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that everybody may enter."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_nobody(look: Callable[[], object]) -> Any:
    skills.load()  # nobody may be able to import the reader either

    def act() -> str:
        if os.geteuid() == 0:
            os.setuid(65534)
        return json.dumps(look())

    return json.loads(Forked(act).end()[0])


def test_a_file_without_permission_is_a_fault(folder: Path) -> None:
    (folder / "mine.mp4").write_bytes(b"clip")
    (folder / "mine.mp4").chmod(0)

    def look() -> object:
        facts = LocalFiles(folder).look("mine.mp4")
        return facts.problem, facts.hint

    assert as_nobody(look) == ["this file can't be read", "Permission denied"]


def test_a_folder_of_skills_without_permission_is_absent_with_a_note_and_a_profile_broken(folder: Path) -> None:
    path = folder / "mine" / "SKILL.md"
    path.parent.mkdir()
    path.write_text("---\nname: mine\nversion: 1.2.0\ndescription: My own.\n---\n# Mine\n", encoding="utf-8")
    path.parent.chmod(0)

    def look() -> object:
        """The skills in each folder, without the built-in ones, which this user may not read."""
        with TemporaryDirectory() as none:
            loaded = [skills.load([each], built_in=Path(none)) for each in (path.parent / "skills", folder)]
        return [(list(each.notes), dict(each.broken)) for each in loaded]

    absent, broken = as_nobody(look)
    path.parent.chmod(0o700)
    assert absent == [[f"{path.parent / 'skills'} can't be read: Permission denied"], {}]
    why = f"{path}: it can't be read: Permission denied"
    assert broken == [[f"mine can't be used: {why}"], {"mine": why}]


# Ctrl-C at a moment that is not made for it


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _press(times: int, done: list[str]) -> None:
    with delay_interrupt():
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
        done.append("the rest")


@pytest.mark.parametrize(("times", "said"), [(1, ["the rest"]), (2, [])])
def test_what_is_held_back_comes_after_unless_one_presses_twice(times: int, said: list[str]) -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        _press(times, done)
    assert done == said
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _press(1, done)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_new_database_is_made_whole_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = command.upgrade

    def interrupted(*words: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        upgrade(*words)

    monkeypatch.setattr(command, "upgrade", interrupted)
    settings = Settings(reelq_data_dir=tmp_path)
    with pytest.raises(KeyboardInterrupt), open_deployment(settings):
        pytest.fail("it began all the same")
    store = Store(database_url(settings))
    assert migrations.is_current(store)
    store.close()


_IN_A_CALLBACK = """
import signal, time, weakref
from reelq.cli import interrupts

class Thing:
    pass

interrupts._RESEND_SECONDS = {seconds}
interrupts.raise_on_interrupt()
thing = Thing()
kept = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
try:
    del thing
    time.sleep(600)
except KeyboardInterrupt:
    print("heard")
"""


@pytest.mark.parametrize("seconds", [0.01, 0])  # 0: as on a machine that is slow to return from the hook
def test_a_ctrl_c_that_comes_in_a_callback_is_heard_a_moment_later_and_says_nothing_itself(seconds: float) -> None:
    done = python(_IN_A_CALLBACK.format(seconds=seconds))
    assert (done.stdout, done.stderr) == ("heard\n", "")


# What a command loads is what it takes to start: most look at a database and print.


_SHOW = """
import sys
from importlib import import_module
for name in sys.argv[1:]:
    import_module(name)
print(*sorted({name.partition(".")[0] for name in sys.modules} | {"rich.console"} & {*sys.modules}))
"""


def test_commands_that_only_look_load_neither_worker_nor_network_nor_migrations_nor_yaml() -> None:
    modules = (f"reelq.cli.commands.{name}" for name in ("actions", "batches", "show"))
    loaded = set(python(_SHOW, *modules).stdout.split())
    assert {"sqlalchemy", "reelq"} <= loaded
    needless = {
        "celery",
        "kombu",
        "httpx",
        "alembic",
        "worker",
        "api",
        "fastapi",
        "rich.console",
        "yaml",
        "frontmatter",
    }
    assert not needless & loaded


# The file of docker compose, as a checker of its own reads it


def test_it_is_what_the_compose_specification_allows(tmp_path: Path) -> None:
    filled = tmp_path / "compose.yml"
    filled.write_text(yaml.safe_dump(compose(SECRETS)))
    schema = ["--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *schema, str(COMPOSE), str(filled)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


# How long real clips play, as an encoder writes them


LENGTH = 1.5


@pytest.mark.parametrize(
    ("name", "options", "length"),
    [
        ("index-last.mp4", "", LENGTH),
        ("index-first.mp4", "-movflags +faststart", LENGTH),
        ("clip.mov", "", LENGTH),
        ("fragmented.mp4", "-movflags frag_keyframe+empty_moov", None),
        ("clip.webm", "-c:v libvpx", None),
        ("clip.mkv", "-c:v mpeg4", None),
        ("clip.avi", "-c:v mpeg4", None),
    ],
)
def test_the_length_is_read_where_it_is_told(tmp_path: Path, name: str, options: str, length: float | None) -> None:
    source = ("-f", "lavfi", "-i", f"color=c=teal:s=64x36:d={LENGTH}:r=10")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source, *options.split(), str(tmp_path / name)]
    subprocess.run(command, check=True, timeout=60)
    assert media.duration(tmp_path / name) == (length and pytest.approx(length, abs=0.05))
