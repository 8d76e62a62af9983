"""The queue of a remote reelq service: implements the queue interface with requests."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Final, TextIO

import click

from reelq.cli.backends.base import BatchReport, Target
from reelq.cli.backends.http import resources
from reelq.cli.backends.http.client import Service, service_at
from reelq.cli.backends.http.videos import bring_videos
from reelq.cli.backends.http.watch import watching
from reelq.cli.views.watch import Reader
from reelq.errors import UnknownName
from reelq.job import Status
from reelq.results import Form
from reelq.settings import Settings
from reelq.store.commands import ActionCounts
from reelq.store.db.models import BatchState
from reelq.store.queries.batch_status import Snapshot
from reelq.store.queries.lookup import BatchInfo, BatchInList, RowRef

_ID: Final = re.compile(r"[a-z0-9_]+")
_MEDIA_TYPES: Final = {Form.CSV: "text/csv", Form.JSONL: "application/jsonl"}


class RemoteQueue:
    """The queue of a service, and the batches and rows that a user can name there."""

    in_process = False

    def __init__(self, service: Service) -> None:
        self._service = service

    @cached_property
    def _listed(self) -> list[BatchInfo]:
        return [resources.listed(item) for item in self._service.pages("/v1/batches")]

    def batches(self) -> Sequence[BatchInfo]:
        """All of the user's batches, newest first."""
        return self._listed

    def newest(self) -> BatchInfo | None:
        """The newest of the user's batches."""
        found = self._service.pages("/v1/batches", at_once=1)
        return next((resources.listed(item) for item in found), None)

    def with_id(self, batch_id: str) -> BatchInfo | None:
        """The batch with exactly this id."""
        data = self._get_or_none("batches", batch_id)
        return resources.listed(data) if data else None

    def successor(self, batch_id: str) -> BatchInfo | None:
        """None: over HTTP, each submission is a batch of its own and keeps its rows."""
        del batch_id
        return None

    def row_with(self, job_id: str) -> RowRef | None:
        """The row with exactly this id."""
        data = self._get_or_none("jobs", job_id)
        return resources.row_position(data) if data else None

    def rows_called(self, batch_id: str, word: str) -> Sequence[RowRef]:
        """The rows of a batch with this number or this id from the manifest."""
        found = self._service.pages(f"/v1/batches/{batch_id}/jobs", called=word)
        return [resources.row_position(item) for item in found]

    def stand(self, batch_id: str) -> BatchReport:
        """The state of a batch, and why rows of it failed or wait."""
        return resources.batch_report(self._service.get(f"/v1/batches/{batch_id}"))

    def standings(self, limit: int) -> list[BatchInList]:
        """The newest batches, each with its counts and cost."""
        found = self._service.pages("/v1/batches", at_once=min(limit, 200))
        return [resources.batch_summary(item) for item in islice(found, limit)]

    @contextmanager
    def watching(self, batch_id: str) -> Iterator[Reader]:
        """Open a function that reads a batch and shows what has happened since its last call."""
        with watching(self._service, batch_id, lambda: self.stand(batch_id).seen) as look:
            yield look

    def put_results(self, batch_id: str, file: TextIO, form: Form) -> None:
        """Stream the result manifest into an open file."""
        headers = {"Accept": _MEDIA_TYPES[form]}
        with self._service.opened("GET", f"/v1/batches/{batch_id}/results.csv", headers=headers) as response:
            response.encoding = "utf-8"
            file.writelines(response.iter_text())

    def bring_videos(self, batch_id: str, folder: Path) -> bool:
        """Download every finished video into a folder. Returns whether all of them are there now."""
        return bring_videos(self._service, batch_id, folder)

    def retry(self, target: Target) -> ActionCounts:
        """Queue failed rows again."""
        return resources.action_counts(self._post_action(target, "retry"))

    def cancel(self, target: Target) -> ActionCounts:
        """Cancel rows that have not ended."""
        return resources.action_counts(self._post_action(target, "cancel"))

    def pause(self, target: Target) -> tuple[BatchState, ActionCounts]:
        """Pause a batch: no more stages start. Returns its new state."""
        data = self._post_action(target, "pause")
        return resources.batch_report(data.get("batch", {})).seen.state, resources.action_counts(data)

    def resume(self, target: Target) -> ActionCounts:
        """Continue rows that wait for the user."""
        if target.job_id:
            raise click.UsageError(f"A remote service can only resume whole batches: reelq resume {target.batch_id}")
        return resources.action_counts(self._post_action(target, "resume"))

    def status_of(self, target: Target) -> Status:
        """The status of one row."""
        return resources.status(self._service.get(f"/v1/jobs/{target.job_id}"))

    def way_on(self, batch: Snapshot) -> str:
        """Who continues the work, as a phrase for the user."""
        del batch
        return "a worker of the service will run them"

    def _post_action(self, target: Target, action: str) -> dict[str, Any]:
        path = f"/v1/jobs/{target.job_id}" if target.job_id else f"/v1/batches/{target.batch_id}"
        return self._service.post(f"{path}/{action}")

    def _get_or_none(self, kind: str, resource_id: str) -> dict[str, Any] | None:
        if not _ID.fullmatch(resource_id):  # it becomes part of the path, and could address something else
            return None
        try:
            return self._service.get(f"/v1/{kind}/{resource_id}")
        except UnknownName:
            return None


@contextmanager
def open_remote_queue(address: str, settings: Settings) -> Iterator[RemoteQueue]:
    """Connect to the queue of the service at this address."""
    with service_at(address, settings) as service:
        yield RemoteQueue(service)
