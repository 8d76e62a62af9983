"""Ctrl-C at a moment that is not made for it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command

from reelq.cli.deployment import deployment
from reelq.cli.interrupts import held_back
from reelq.settings import Settings
from reelq.store import schema
from reelq.store.session import Store, database_url


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _press(times: int, done: list[str]) -> None:
    with held_back():
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
        done.append("the rest")


def test_what_is_held_back_comes_after_and_then_the_handler_is_the_one_from_before() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        _press(1, done)
    assert done == ["the rest"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_whoever_presses_twice_is_not_kept_waiting() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        _press(2, done)
    assert done == []


def test_one_that_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with held_back():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_new_database_is_made_whole_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = command.upgrade

    def interrupted(*words: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        upgrade(*words)

    monkeypatch.setattr(command, "upgrade", interrupted)
    settings = Settings(reelq_data_dir=tmp_path)
    with pytest.raises(KeyboardInterrupt), deployment(settings):
        pytest.fail("it began all the same")
    store = Store(database_url(settings))
    assert schema.is_current(store)
    store.close()


_IN_A_CALLBACK = """
import signal, sys, time, weakref
from reelq.cli.interrupts import begin

class Thing:
    pass

begin()
thing = Thing()
kept = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
try:
    del thing
    time.sleep(600)
except KeyboardInterrupt:
    print("heard")
"""


def test_a_ctrl_c_that_comes_in_a_callback_is_heard_a_moment_later_and_says_nothing_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IN_A_CALLBACK], capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("heard\n", "")
