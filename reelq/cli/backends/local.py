"""The queue in a database that this machine reaches."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import click

from reelq.cli.backends.base import Directory, Queue
from reelq.cli.interrupts import delay_interrupt
from reelq.cli.views import watch
from reelq.cli.views.report import shown_path
from reelq.cli.views.text import safe_line
from reelq.cli.views.watch import Reader
from reelq.errors import SettingsError
from reelq.job import Status
from reelq.results import Form, result_lines
from reelq.settings import Settings
from reelq.store import commands
from reelq.store.commands import ActionCounts
from reelq.store.db import migrations
from reelq.store.db.engine import Store, database_url, is_unavailable
from reelq.store.db.models import BatchState
from reelq.store.db.vault import Vault, open_vault
from reelq.store.queries import lookup
from reelq.store.queries.batch_status import QUIET_SECONDS, Snapshot, any_worker_active, snapshot
from reelq.store.queries.lookup import BatchInfo, BatchInList, Target
from reelq.store.queries.rows import row_history, with_reasons

OWNER: Final = "local"
"""The owner of batches submitted on the command line. Those submitted over HTTP belong to the owners of API keys."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """The settings and the store of one command."""

    settings: Settings
    store: Store
    is_sandbox: bool = False
    """Whether it is that of `--sandbox`. Sandbox batches and real work never mix."""

    @property
    def vault(self) -> Vault:
        """The vault for tokens. If the database is a local file, its key is created on first use."""
        return open_vault(self.settings, local=self.store.is_sqlite)

    @property
    def in_process(self) -> bool:
        """Whether this machine does the work itself, because no broker is configured."""
        return self.settings.reelq_broker_url is None


@contextmanager
def open_deployment(settings: Settings | None = None, *, is_sandbox: bool = False) -> Iterator[Deployment]:
    """Open the deployment that the environment describes, with its database ready for use.

    A SQLite file is migrated without asking. A database that is shared with others is not.
    """
    effective = settings or Settings.read()
    store = Store(database_url(effective))
    try:
        if store.is_sqlite:
            with delay_interrupt():
                migrations.upgrade(store)
        elif not migrations.is_current(store):
            raise SettingsError("REELQ_DATABASE_URL: the database schema is not current; run `reelq db upgrade`")
        yield Deployment(effective, store, is_sandbox)
    finally:
        store.close()


class NoWorkerWarning:
    """Warns once that no worker takes the rows of a batch, and how to start one. Called each time it is read."""

    def __init__(self, local: Deployment, batch_id: str) -> None:
        self._local = local
        self._batch_id = batch_id
        self._done = local.in_process
        self._next_check = time.monotonic() + QUIET_SECONDS

    def __call__(self) -> None:
        """Check at most once a second, and only after a quiet period: few batches need the warning."""
        if self._done or time.monotonic() < self._next_check:
            return
        self._next_check = time.monotonic() + 1
        try:
            self._done = self._has_no_worker()
        except Exception as error:
            if not is_unavailable(error):
                raise
            return
        if self._done:
            # The live view prints this above itself, where it stays.
            click.echo("No worker is running, so these rows stay queued. Start one with `reelq up`.", err=True)

    def _has_no_worker(self) -> bool:
        store = self._local.store
        with store.read() as session:
            now = store.now(session)
            batch = snapshot(session, self._batch_id, now, shown=0)
            return bool(batch.moving_count) and not batch.tended and not any_worker_active(session, now)


class DatabaseDirectory(Directory):
    """The batches and rows that a user can name in a database."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._owner = owner

    def batches(self) -> Sequence[BatchInfo]:
        with self._store.read() as session:
            return lookup.batches_of(session, self._owner)

    def newest(self) -> BatchInfo | None:
        with self._store.read() as session:
            return next(iter(lookup.batches_of(session, self._owner, 1)), None)

    def with_id(self, batch_id: str) -> BatchInfo | None:
        return next((batch for batch in self.batches() if batch.id == batch_id), None)

    def successor(self, batch_id: str) -> BatchInfo | None:
        with self._store.read() as session:
            return lookup.successor(session, self._owner, batch_id)

    def row_with_id(self, job_id: str) -> Target | None:
        with self._store.read() as session:
            return lookup.row_with_id(session, self._owner, job_id)

    def rows_named(self, batch_id: str, word: str) -> Sequence[Target]:
        with self._store.read() as session:
            return lookup.rows_named(session, batch_id, word)


class LocalQueue(Queue):
    """The queue in a database."""

    def __init__(self, local: Deployment) -> None:
        self._local = local
        self._store = local.store

    @property
    def in_process(self) -> bool:
        return self._local.in_process

    def state(self, batch_id: str) -> Snapshot:
        with self._store.read() as session:
            return with_reasons(session, snapshot(session, batch_id, self._store.now(session), shown=0))

    def newest_batches(self, limit: int) -> list[BatchInList]:
        with self._store.read() as session:
            return lookup.list_with_counts(session, OWNER, limit)

    @contextmanager
    def watching(self, batch_id: str) -> Iterator[Reader]:
        """Open a function that reads and shows a batch, and warns if nobody works on it."""
        read, warn = watch.open_reader(self._store, batch_id), NoWorkerWarning(self._local, batch_id)

        def read_and_warn(view: watch.View) -> Snapshot | None:
            batch = read(view)
            warn()
            return batch

        yield read_and_warn

    def write_results(self, batch_id: str, file: TextIO, form: Form) -> None:
        file.writelines(result_lines(self._store, batch_id, form))

    def download_videos(self, batch_id: str, folder: Path) -> bool:
        """Raise UsageError: the videos are on this machine already."""
        out = safe_line(shown_path(Path(self.state(batch_id).out)))
        raise click.UsageError(f"The videos are on this machine already, in {out}; --videos is for a remote service.")

    def retry(self, target: Target) -> ActionCounts:
        if target.job_id:
            return _single(done=commands.retry_row(self._store, target.job_id))
        return commands.retry_batch(self._store, target.batch_id)

    def cancel(self, target: Target) -> ActionCounts:
        if target.job_id:
            return commands.cancel_row(self._store, target.job_id)
        return commands.cancel_batch(self._store, target.batch_id)

    def pause(self, target: Target) -> tuple[BatchState, ActionCounts]:
        return commands.pause_batch(self._store, target.batch_id)

    def resume(self, target: Target) -> ActionCounts:
        if target.job_id:
            return _single(done=commands.resume_row(self._store, target.job_id))
        return commands.resume_batch(self._store, target.batch_id)

    def status_of(self, target: Target) -> Status:
        with self._store.read() as session:
            return row_history(session, target.job_id).job.status

    def who_continues(self, batch: Snapshot) -> str:
        if not self.in_process:
            return "a worker will run them"
        manifest = Path(batch.source) / batch.name
        if not manifest.is_file():
            return "to continue, repeat the command that started it"
        default_out = Path.cwd() / "reelq-out" / manifest.stem
        out = "" if Path(batch.out) == default_out else f" --out {safe_line(shown_path(Path(batch.out)))}"
        sandbox_option = " --sandbox" if self._local.is_sandbox else ""
        return f"`reelq run {safe_line(shown_path(manifest))}{out}{sandbox_option}` continues it"


def _single(*, done: bool) -> ActionCounts:
    return ActionCounts(int(done), not_so=int(not done))
