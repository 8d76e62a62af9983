"""What is said to somebody who waits for a batch that nobody works on."""

import time

import click

from reelq.cli.deployment import Deployment
from reelq.store.overview import QUIET_SECONDS, anybody_at_work, snapshot
from reelq.store.session import is_away


class Alarm:
    """Says once that no worker takes the rows of a batch, and what starts one; called after each look at it."""

    def __init__(self, made: Deployment, batch_id: str) -> None:
        self._made = made
        self._batch_id = batch_id
        self._over = made.in_process
        self._next = time.monotonic() + QUIET_SECONDS

    def __call__(self) -> None:
        """Look, now and then: it is a question that few batches need to have answered."""
        if self._over or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 1
        try:
            self._over = self._is_alone()
        except Exception as error:
            if not is_away(error):
                raise
            return
        if self._over:
            # The live view lets it pass above itself, where it stays.
            click.echo("No worker takes these rows. They wait in the database; `reelq up` starts one here.", err=True)

    def _is_alone(self) -> bool:
        store = self._made.store
        with store.read() as session:
            now = store.now(session)
            seen = snapshot(session, self._batch_id, now, shown=0)
            return bool(seen.moving) and not seen.tended and not anybody_at_work(session, now)
