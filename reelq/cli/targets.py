"""Resolves what a user types (an id or part of it, a manifest, `last`, BATCH:ROW) to a batch or row and its queue."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Final

import click

from reelq.cli import sandbox_mode
from reelq.cli.backends.base import Directory, Queue
from reelq.cli.backends.local import OWNER, DatabaseDirectory, Deployment, LocalQueue, open_deployment
from reelq.errors import UnknownName
from reelq.manifest.columns import nearest
from reelq.settings import Settings, web_address
from reelq.store.queries.lookup import BatchInfo, Target

_SHORTEST_PART: Final = 3
"""A shorter part of an id matches nothing: it is probably a typo."""
_MOST_SUGGESTIONS: Final = 5
_ID_PREFIXES: Final = ("bat_", "job_")


Resolver = Callable[[Directory, str], Target]


def resolve_batch(known: Directory, word: str) -> Target:
    """Resolve a batch. Raises UnknownName, with suggestions, unless exactly one matches."""
    return Target(_find_batch(known, word).id)


def resolve_job(known: Directory, word: str) -> Target:
    """Resolve a row. Raises UnknownName unless exactly one matches."""
    found = _find_job(known, word)
    if found is None:
        advice = "Use the row's id or BATCH:ROW, such as last:3; `reelq status` lists the batches."
        raise UnknownName(f"{word!r} is not the name of a row", advice)
    return found


def resolve(known: Directory, word: str) -> Target:
    """Resolve a batch or a row, whichever the word names."""
    with suppress(UnknownName):  # try a batch first: a path may contain a colon too
        return resolve_batch(known, word)
    return _find_job(known, word) or resolve_batch(known, word)


def _find_job(known: Directory, word: str) -> Target | None:
    """Find the row; None if the word does not look like the name of a row."""
    if word.startswith("job_") and ":" not in word:
        if found := known.row_with_id(word):
            return found
        raise UnknownName(f"No row has the id {word!r}", "`reelq show BATCH:ROW` finds a row by its number.")
    first_error = None
    for batch_word, row_word in _splits(word):
        try:
            batch = _find_batch(known, batch_word)
            return _single_row(batch, known.rows_named(batch.id, row_word), row_word)
        except UnknownName as error:
            first_error = first_error or error
    if first_error:
        raise first_error
    return None


def _splits(word: str) -> Iterator[tuple[str, str]]:
    """Split into BATCH and ROW at each colon, the last one first: both a path and a row's id may contain colons."""
    for index in range(len(word) - 2, 0, -1):
        if word[index] == ":":
            yield word[:index], word[index + 1 :]


def _single_row(batch: BatchInfo, found: Sequence[Target], word: str) -> Target:
    if not found:
        raise UnknownName(
            f"{batch.id} has no row {word!r}", f"`reelq results {batch.id}` lists its rows, with their ids."
        )
    if len(found) > 1:
        ids = " and ".join(f"row {candidate.row} ({candidate.job_id})" for candidate in found)
        raise UnknownName(f"{word!r} is the number of one row and the id of another: {ids}", "Use the row's job_ id.")
    return found[0]


def _find_batch(known: Directory, word: str) -> BatchInfo:
    newest = known.newest()
    if newest is None:
        raise UnknownName(
            "There are no batches yet", "Create one with `reelq run MANIFEST` or `reelq submit MANIFEST`."
        )
    if word == "last":
        return newest
    if word.startswith("bat_") and (found := known.with_id(word)):
        return found
    batches = known.batches()
    with_path = (batch for batch in batches if batch.source and _is_at(batch, word))
    with_name = (batch for batch in batches if _has_name(batch, word))
    if found := next(chain(with_path, with_name), None):
        return found
    if newer := known.successor(word):
        message = f"{word} has no rows left: its manifest was submitted again, and the rows moved with it"
        raise UnknownName(message, f"They are in {newer.id} ({newer.name}).")
    return _find_by_part(batches, word)


def _is_at(batch: BatchInfo, path: str) -> bool:
    return os.path.normcase(Path(batch.source, batch.name)) == os.path.normcase(Path(path).absolute())


def _has_name(batch: BatchInfo, word: str) -> bool:
    # Users type the path of a manifest that they submitted to a service; the service knows only its file name.
    return word in {batch.name, Path(batch.name).stem} or (not batch.source and Path(word).name == batch.name)


def _find_by_part(batches: Sequence[BatchInfo], word: str) -> BatchInfo:
    prefixes = (word, f"bat_{word}")
    found = [batch for batch in batches if batch.id.startswith(prefixes) or batch.id.endswith(word)]
    if len(word.removeprefix("bat_")) < _SHORTEST_PART or not found:
        raise UnknownName(f"No batch is called {word!r}", _suggestion(batches, word))
    if len(found) > 1:
        suggestions = ", ".join(f"{batch.id} ({batch.name})" for batch in found[:_MOST_SUGGESTIONS])
        raise UnknownName(f"{len(found):,} batches are called {word!r}", f"They are: {suggestions}")
    return found[0]


def _suggestion(batches: Sequence[BatchInfo], word: str) -> str:
    names = {batch.name: batch for batch in reversed(batches)}
    if name := nearest(word, list(names)):
        return f"Did you mean {name!r} ({names[name].id})? `reelq status` lists all."
    return f"The newest is {batches[0].id} ({batches[0].name}); `reelq status` lists all."


def _parse_address(_context: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    try:
        return web_address(value) if value else None
    except ValueError:
        raise click.BadParameter("must start with http:// or https://") from None


sandbox_option: Final = click.option(
    "--sandbox", is_flag=True, help="Look up batches of `run --sandbox`; not needed for ids."
)
api_option: Final = click.option(
    "--api",
    metavar="URL",
    callback=_parse_address,
    help="URL of the reelq service, instead of REELQ_API_URL; the key is read from REELQ_API_KEY.",
)


def service_address(settings: Settings, api: str | None, *, sandbox: bool = False) -> str | None:
    """The address of the remote service to use; None for the queue of this machine."""
    if sandbox and api:
        raise click.UsageError(
            "--sandbox and --api can't be combined: one is this machine, the other a remote service."
        )
    return None if sandbox else api or settings.reelq_api_url


@contextmanager
def open_queue(resolver: Resolver, word: str, *, sandbox: bool, api: str | None) -> Iterator[tuple[Queue, Target]]:
    """Resolve the word, and open the queue that has the batch or row."""
    settings = Settings.read()
    address = service_address(settings, api, sandbox=sandbox)
    if address is None:
        with open_local(resolver, word, sandbox=sandbox) as (local, resolved):
            yield LocalQueue(local), resolved
        return
    from reelq.cli.backends.http.queue import open_remote_queue  # a local queue does not need it

    with open_remote_queue(address, settings) as queue:
        yield queue, resolver(queue, word)


@contextmanager
def open_local(resolver: Resolver, word: str, *, sandbox: bool = False) -> Iterator[tuple[Deployment, Target]]:
    """Resolve the word, and open the deployment on this machine that has the batch or row.

    Names and `last` mean real work unless `sandbox` is set. Ids are unique, and are found in either database.
    """
    settings = Settings.read()
    with ExitStack() as stack:
        local = stack.enter_context(open_sandbox_or_real(settings, sandbox=sandbox))
        try:
            resolved = resolver(DatabaseDirectory(local.store, OWNER), word)
        except UnknownName as unknown:
            if settings.reelq_api_url and not sandbox:
                unknown.advice += " This command works on this machine only, not with REELQ_API_URL."
            if sandbox or not sandbox_mode.has_database(settings):
                raise
            if not word.startswith(_ID_PREFIXES):
                unknown.advice += " Use `--sandbox` to look up sandbox batches."
                raise
            local = stack.enter_context(open_sandbox_or_real(settings, sandbox=True))
            resolved = _resolve_in_sandbox(resolver, DatabaseDirectory(local.store, OWNER), word, unknown)
        yield local, resolved


def _resolve_in_sandbox(resolver: Resolver, known: Directory, word: str, first_error: UnknownName) -> Target:
    """Resolve an id in the sandbox's database.

    If it is unknown there as well, raise the first error, whose suggestions name real work. Only if the sandbox has the
    batch, but not the row, raise the sandbox's own error.
    """
    try:
        return resolver(known, word)
    except UnknownName as sandbox_error:
        try:
            resolve_batch(known, word.partition(":")[0])
        except UnknownName:
            raise first_error from None
        raise sandbox_error from None


def open_sandbox_or_real(settings: Settings, *, sandbox: bool) -> AbstractContextManager[Deployment]:
    """Open the real or the sandbox's deployment. The sandbox's database is not created by looking for it."""
    if sandbox and not sandbox_mode.has_database(settings):
        raise UnknownName("The sandbox has no batches yet", "Run `reelq run MANIFEST --sandbox` first.")
    return open_deployment(sandbox_mode.database_settings(settings) if sandbox else settings, is_sandbox=sandbox)
