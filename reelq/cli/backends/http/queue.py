"""The queue of a remote reelq service: implements the queue interface with requests."""

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, TextIO

import click

from reelq.cli.backends.base import Directory, Queue
from reelq.cli.backends.http.client import Service, parse, service_at
from reelq.cli.backends.http.videos import download_videos
from reelq.cli.backends.http.watch import watching
from reelq.cli.views.watch import Reader
from reelq.errors import UnknownName
from reelq.job import Status
from reelq.results import Form
from reelq.settings import Settings
from reelq.store.commands import ActionCounts
from reelq.store.db.models import BatchState
from reelq.store.queries.batch_status import Group, Snapshot
from reelq.store.queries.lookup import BatchInfo, BatchInList, Target

_ID: Final = re.compile(r"[a-z0-9_]+")
_MEDIA_TYPES: Final = {Form.CSV: "text/csv", Form.JSONL: "application/jsonl"}


@dataclass(frozen=True, slots=True)
class _Job:
    id: str
    batch: str
    row: int
    status: Status

    @property
    def target(self) -> Target:
        return Target(self.batch, self.id, self.row)


# These repeat fields without their defaults: an answer that lacks one is that of another version.
@dataclass(frozen=True, slots=True, kw_only=True)
class _State(Snapshot):
    failures: tuple[Group, ...]
    waits: tuple[Group, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts(ActionCounts):
    not_so: int
    soon: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Paused(_Counts):
    batch: BatchInfo


class RemoteQueue(Directory, Queue):
    """The queue of a service, and the batches and rows that a user can name there."""

    in_process = False

    def __init__(self, service: Service) -> None:
        self._service = service

    @cached_property
    def _listed(self) -> list[BatchInfo]:
        return [parse(BatchInfo, item) for item in self._service.pages("/v1/batches")]

    def batches(self) -> Sequence[BatchInfo]:
        return self._listed

    def newest(self) -> BatchInfo | None:
        found = self._service.pages("/v1/batches", at_once=1)
        return next((parse(BatchInfo, item) for item in found), None)

    def with_id(self, batch_id: str) -> BatchInfo | None:
        data = self._get_or_none("batches", batch_id)
        return parse(BatchInfo, data) if data else None

    def successor(self, batch_id: str) -> BatchInfo | None:
        """None: over HTTP, each submission is a batch of its own and keeps its rows."""
        del batch_id
        return None

    def row_with_id(self, job_id: str) -> Target | None:
        data = self._get_or_none("jobs", job_id)
        return parse(_Job, data).target if data else None

    def rows_named(self, batch_id: str, word: str) -> Sequence[Target]:
        found = self._service.pages(f"/v1/batches/{batch_id}/jobs", called=word)
        return [parse(_Job, item).target for item in found]

    def state(self, batch_id: str) -> Snapshot:
        return parse(_State, self._service.get(f"/v1/batches/{batch_id}"))

    def newest_batches(self, limit: int) -> list[BatchInList]:
        found = self._service.pages("/v1/batches", at_once=min(limit, 200))
        return [parse(BatchInList, item) for item in islice(found, limit)]

    def watching(self, batch_id: str) -> AbstractContextManager[Reader]:
        return watching(self._service, batch_id, partial(self.state, batch_id))

    def write_results(self, batch_id: str, file: TextIO, form: Form) -> None:
        headers = {"Accept": _MEDIA_TYPES[form]}
        with self._service.opened("GET", f"/v1/batches/{batch_id}/results.csv", headers=headers) as response:
            response.encoding = "utf-8"
            file.writelines(response.iter_text())

    def download_videos(self, batch_id: str, folder: Path) -> bool:
        return download_videos(self._service, batch_id, folder)

    def retry(self, target: Target) -> ActionCounts:
        return parse(_Counts, self._post_action(target, "retry"))

    def cancel(self, target: Target) -> ActionCounts:
        return parse(_Counts, self._post_action(target, "cancel"))

    def pause(self, target: Target) -> tuple[BatchState, ActionCounts]:
        paused = parse(_Paused, self._post_action(target, "pause"))
        return paused.batch.state, paused

    def resume(self, target: Target) -> ActionCounts:
        if target.job_id:
            raise click.UsageError(f"A remote service can only resume whole batches: reelq resume {target.batch_id}")
        return parse(_Counts, self._post_action(target, "resume"))

    def status_of(self, target: Target) -> Status:
        return parse(_Job, self._service.get(f"/v1/jobs/{target.job_id}")).status

    def who_continues(self, batch: Snapshot) -> str:
        del batch
        return "a worker of the service will run them"

    def _post_action(self, target: Target, action: str) -> dict[str, Any]:
        path = f"/v1/jobs/{target.job_id}" if target.job_id else f"/v1/batches/{target.batch_id}"
        return self._service.ask("POST", f"{path}/{action}")

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
