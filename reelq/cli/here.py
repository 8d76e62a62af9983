"""The queue in a database that this machine reaches by itself."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from reelq.cli import live
from reelq.cli.alarm import Alarm
from reelq.cli.deployment import OWNER, Deployment
from reelq.cli.live import Look
from reelq.cli.named import Named
from reelq.cli.queue import Stand
from reelq.cli.report import shown_path
from reelq.cli.wording import one_line
from reelq.job import Status
from reelq.results import Form, put_results
from reelq.store import batchlist, handling
from reelq.store.batchlist import Listed, Numbered, Standing
from reelq.store.handling import Handled
from reelq.store.models import BatchState
from reelq.store.outcomes import failures, waits
from reelq.store.overview import Snapshot, snapshot
from reelq.store.session import Store
from reelq.store.story import story


class InDatabase:
    """What a user can name there."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._owner = owner

    def batches(self) -> Sequence[Listed]:
        """All of the user's batches, the newest first."""
        with self._store.read() as session:
            return batchlist.batches_of(session, self._owner)

    def newest(self) -> Listed | None:
        """The first of those."""
        with self._store.read() as session:
            return next(iter(batchlist.batches_of(session, self._owner, 1)), None)

    def with_id(self, batch_id: str) -> Listed | None:
        """The one that has this whole id."""
        return next((one for one in self.batches() if one.id == batch_id), None)

    def successor(self, batch_id: str) -> Listed | None:
        """Which of them has the rows of a batch that has none any more."""
        with self._store.read() as session:
            return batchlist.successor(session, self._owner, batch_id)

    def row_with(self, job_id: str) -> Numbered | None:
        """The row that has this whole id, if it is the user's."""
        with self._store.read() as session:
            found = batchlist.job_owner(session, job_id)
        return found if found and found.owner == self._owner else None

    def rows_called(self, batch_id: str, word: str) -> Sequence[Numbered]:
        """The rows of a batch with this number, or with this id of the user's."""
        with self._store.read() as session:
            return batchlist.rows_called(session, batch_id, word)


class Here:
    """The queue, by its database."""

    def __init__(self, made: Deployment) -> None:
        self._made = made
        self._store = made.store

    @property
    def in_process(self) -> bool:
        """Whether a command has to do the work itself, for want of workers."""
        return self._made.in_process

    def stand(self, batch_id: str) -> Stand:
        """How a batch stands."""
        with self._store.read() as session:
            seen = snapshot(session, batch_id, self._store.now(session), shown=0)
            return Stand(seen, failures(session, batch_id), waits(session, batch_id))

    def standings(self, limit: int) -> list[Standing]:
        """The newest batches."""
        with self._store.read() as session:
            return batchlist.standings(session, OWNER, limit)

    @contextmanager
    def watching(self, batch_id: str) -> Iterator[Look]:
        """What looks at a batch; now and then also for somebody who works on it."""
        look, alarm = live.looking_at(self._store, batch_id), Alarm(self._made, batch_id)

        def both(show: live.Show) -> Snapshot | None:
            seen = look(show)
            alarm()
            return seen

        yield both

    def put_results(self, batch_id: str, file: TextIO, form: Form) -> None:
        """The result manifest, into an open file."""
        put_results(self._store, batch_id, file, form)

    def bring_videos(self, batch_id: str, folder: Path) -> bool:
        """They are here: nothing has to be brought."""
        out = one_line(shown_path(Path(self.stand(batch_id).seen.out)))
        raise click.UsageError(f"The videos are on this machine already, in {out}: --videos is for those of a service.")

    def retry(self, meant: Named) -> Handled:
        """What failed goes again."""
        if meant.job_id:
            return _of_one(done=handling.retry_row(self._store, meant.job_id))
        return handling.retry_batch(self._store, meant.batch_id)

    def cancel(self, meant: Named) -> Handled:
        """What has not ended goes no further."""
        if meant.job_id:
            return handling.cancel_row(self._store, meant.job_id)
        return handling.cancel_batch(self._store, meant.batch_id)

    def pause(self, meant: Named) -> tuple[BatchState, Handled]:
        """No stage of a batch begins any more."""
        return handling.pause_batch(self._store, meant.batch_id)

    def resume(self, meant: Named) -> Handled:
        """What a person held up goes on."""
        if meant.job_id:
            return _of_one(done=handling.resume_row(self._store, meant.job_id))
        return handling.resume_batch(self._store, meant.batch_id)

    def status_of(self, meant: Named) -> Status:
        """Where one row is."""
        with self._store.read() as session:
            return story(session, meant.job_id).job.status

    def way_on(self, seen: Snapshot) -> str:
        """Who does what is to be done now."""
        if not self.in_process:
            return "a worker takes them"
        manifest = Path(seen.source) / seen.name
        if not manifest.is_file():
            return "the command that began it goes on with it when it is given again"
        usual = Path.cwd() / "reelq-out" / manifest.stem
        out = "" if Path(seen.out) == usual else f" --out {one_line(shown_path(Path(seen.out)))}"
        play = " --sandbox" if self._made.is_play else ""
        return f"`reelq run {one_line(shown_path(manifest))}{out}{play}` goes on with it"


def _of_one(*, done: bool) -> Handled:
    return Handled(int(done), not_so=int(not done))
