"""The queue behind a reelq service: what commands ask, as requests."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Final, TextIO

import click

from reelq.cli.away import resources
from reelq.cli.away.service import Service, service_at
from reelq.cli.away.videos import bring_videos
from reelq.cli.away.watching import watching
from reelq.cli.live import Look
from reelq.cli.named import Named
from reelq.cli.queue import Stand
from reelq.errors import UnknownName
from reelq.job import Status
from reelq.results import Form
from reelq.settings import Settings
from reelq.store.batchlist import Listed, Numbered, Standing
from reelq.store.handling import Handled
from reelq.store.models import BatchState
from reelq.store.overview import Snapshot

_ID: Final = re.compile(r"[a-z0-9_]+")
_FORMS: Final = {Form.CSV: "text/csv", Form.JSONL: "application/jsonl"}


class Away:
    """The queue of a service; also what a user can name there."""

    in_process = False

    def __init__(self, service: Service) -> None:
        self._service = service

    @cached_property
    def _listed(self) -> list[Listed]:
        return [resources.listed(one) for one in self._service.pages("/v1/batches")]

    def batches(self) -> Sequence[Listed]:
        """All of the user's batches, the newest first."""
        return self._listed

    def newest(self) -> Listed | None:
        """The first of those."""
        found = self._service.pages("/v1/batches", at_once=1)
        return next((resources.listed(one) for one in found), None)

    def with_id(self, batch_id: str) -> Listed | None:
        """The one that has this whole id."""
        told = self._perhaps("batches", batch_id)
        return resources.listed(told) if told else None

    def successor(self, batch_id: str) -> Listed | None:
        """None: each manifest that is handed in over HTTP is a batch of its own, which keeps its rows."""
        del batch_id
        return None

    def row_with(self, job_id: str) -> Numbered | None:
        """The row that has this whole id."""
        told = self._perhaps("jobs", job_id)
        return resources.numbered(told) if told else None

    def rows_called(self, batch_id: str, word: str) -> Sequence[Numbered]:
        """The rows of a batch with this number, or with this id of the user's."""
        found = self._service.pages(f"/v1/batches/{batch_id}/jobs", called=word)
        return [resources.numbered(one) for one in found]

    def stand(self, batch_id: str) -> Stand:
        """How a batch stands."""
        return resources.stand(self._service.get(f"/v1/batches/{batch_id}"))

    def standings(self, limit: int) -> list[Standing]:
        """The newest batches."""
        found = self._service.pages("/v1/batches", at_once=min(limit, 200))
        return [resources.standing(one) for one in islice(found, limit)]

    @contextmanager
    def watching(self, batch_id: str) -> Iterator[Look]:
        """What looks at a batch."""
        with watching(self._service, batch_id, lambda: self.stand(batch_id).seen) as look:
            yield look

    def put_results(self, batch_id: str, file: TextIO, form: Form) -> None:
        """The result manifest, into an open file, as it comes."""
        headers = {"Accept": _FORMS[form]}
        with self._service.opened("GET", f"/v1/batches/{batch_id}/results.csv", headers=headers) as response:
            response.encoding = "utf-8"
            file.writelines(response.iter_text())

    def bring_videos(self, batch_id: str, folder: Path) -> bool:
        """Every finished video into a folder."""
        return bring_videos(self._service, batch_id, folder)

    def retry(self, meant: Named) -> Handled:
        """What failed goes again."""
        return resources.handled(self._act(meant, "retry"))

    def cancel(self, meant: Named) -> Handled:
        """What has not ended goes no further."""
        return resources.handled(self._act(meant, "cancel"))

    def pause(self, meant: Named) -> tuple[BatchState, Handled]:
        """No stage of a batch begins any more."""
        told = self._act(meant, "pause")
        return resources.stand(told.get("batch", {})).seen.state, resources.handled(told)

    def resume(self, meant: Named) -> Handled:
        """What a person held up goes on."""
        if meant.job_id:
            raise click.UsageError(f"A service resumes whole batches: reelq resume {meant.batch_id}")
        return resources.handled(self._act(meant, "resume"))

    def status_of(self, meant: Named) -> Status:
        """Where one row is."""
        return resources.status(self._service.get(f"/v1/jobs/{meant.job_id}"))

    def way_on(self, seen: Snapshot) -> str:
        """Who does what is to be done now."""
        del seen
        return "a worker of the service takes them"

    def _act(self, meant: Named, what: str) -> dict[str, Any]:
        path = f"/v1/jobs/{meant.job_id}" if meant.job_id else f"/v1/batches/{meant.batch_id}"
        return self._service.post(f"{path}/{what}")

    def _perhaps(self, kind: str, name: str) -> dict[str, Any] | None:
        if not _ID.fullmatch(name):  # it would be a part of the path, and could name something else
            return None
        try:
            return self._service.get(f"/v1/{kind}/{name}")
        except UnknownName:
            return None


@contextmanager
def away(address: str, settings: Settings) -> Iterator[Away]:
    """The queue of the service at this address."""
    with service_at(address, settings) as service:
        yield Away(service)
