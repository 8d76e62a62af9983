"""In which database what a user names is: that of real work, or that of the sandbox; the two never mix."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final, TypeVar

import click

from reelq.cli import play
from reelq.cli.deployment import OWNER, Deployment, deployment
from reelq.cli.named import Named, batch_named
from reelq.errors import UnknownName
from reelq.settings import Settings
from reelq.store.session import Store

_IDS: Final = ("bat_", "job_")

F = TypeVar("F", bound=Callable[..., Any])
Ask = Callable[[Store, str, str], Named]


def of_sandbox(command: F) -> F:
    """The option of commands that take a name."""
    words = "Look among the batches of `run --sandbox`; their ids are known without it."
    return click.option("--sandbox", is_flag=True, help=words)(command)


@contextmanager
def whereabouts(ask: Ask, word: str, *, sandbox: bool = False) -> Iterator[tuple[Deployment, Named]]:
    """What the word names, and the deployment that has it.

    Names and `last` mean real work, unless the sandbox is asked for; an id is unique, and found in either.
    """
    settings = Settings.read()
    with ExitStack() as stack:
        made = stack.enter_context(opened(settings, sandbox=sandbox))
        try:
            meant = ask(made.store, OWNER, word)
        except UnknownName as unknown:
            if sandbox or not play.is_there(settings):
                raise
            if not word.startswith(_IDS):
                unknown.advice += " `--sandbox` looks among those of the sandbox."
                raise
            made = stack.enter_context(opened(settings, sandbox=True))
            meant = _asked_there(ask, made, word, unknown)
        yield made, meant


def _asked_there(ask: Ask, made: Deployment, word: str, unknown: UnknownName) -> Named:
    """Unknown there as well, it is told as it was first, and what is near is real work; but for a row of play."""
    try:
        return ask(made.store, OWNER, word)
    except UnknownName as there:
        raise (there if _has_batch(made, word.partition(":")[0]) else unknown) from None


def _has_batch(made: Deployment, word: str) -> bool:
    with suppress(UnknownName):
        return bool(batch_named(made.store, OWNER, word).batch_id)
    return False


@contextmanager
def opened(settings: Settings, *, sandbox: bool) -> Iterator[Deployment]:
    """The one or the other; play that was never begun is not made by being looked for."""
    if sandbox and not play.is_there(settings):
        raise UnknownName("Nothing was run with the sandbox yet", "`reelq run MANIFEST --sandbox` does.")
    with deployment(play.kept(settings) if sandbox else settings, is_play=sandbox) as made:
        yield made
