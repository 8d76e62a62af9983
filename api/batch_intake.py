"""Accepts a manifest over HTTP in any of its formats, and checks and submits it."""

import json
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.deps import Service
from api.errors import Problem
from api.uploads import MultipartForm, TextPart, Upload, stream_body
from reelq import egress
from reelq.errors import AddressRefused
from reelq.manifest import checks
from reelq.manifest.checks import Checked
from reelq.manifest.columns import control_character
from reelq.manifest.inputs import UploadedFile, UploadedFiles
from reelq.storage import PREFIX, Storage, hash_of
from reelq.store import assets
from reelq.store.billing import accounts
from reelq.store.db.client_models import Asset
from reelq.store.submission import submitter
from reelq.store.submission.request import Submission

MOST_FILES: Final = 1000
_MAX_FORM_BYTES: Final = 10_000_000_000
_MAX_NAME: Final = 200
_ASSET_ID: Final = re.compile(rb"sha256:([0-9a-f]{64})")
_JSONL_TYPES: Final = frozenset({"application/jsonl", "application/x-ndjson", "application/ndjson"})


class RowsIn(BaseModel):
    """A batch as JSON: its rows, each an object whose keys are a manifest's columns."""

    model_config = ConfigDict(extra="forbid")

    rows: list[dict[str, Any]] = Field(min_length=1)
    name: str | None = Field(default=None, min_length=1, max_length=_MAX_NAME)
    assets: dict[str, str] = Field(default_factory=dict)
    """The assets that names in the rows refer to, as `sha256:…`."""


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """The options of a batch."""

    name: str | None = None
    skill: str = checks.DEFAULT_SKILL
    first: int | None = None
    limit_credits: int | None = None


@dataclass(slots=True)
class ReceivedBatch:
    """A batch as received: the manifest, and the files and assets that its names refer to."""

    manifest: bytes = b""
    name: str = ""
    file_name: str = "manifest.csv"
    """The manifest's file name. The checker takes the format from its extension."""
    files: dict[str, Upload] = field(default_factory=dict)
    assets: dict[str, str] = field(default_factory=dict)
    content: str = ""
    """Identifies the content, for the request's fingerprint."""


@dataclass(frozen=True, slots=True)
class CheckedBatch:
    """The result of the checks, and the hash of the content behind each name."""

    checked: Checked
    inputs: Mapping[str, str]


async def receive(request: Request, storage: Storage, open_files: ExitStack) -> ReceivedBatch:
    """Read the batch from a request. Its files are deleted when `open_files` closes, unless they were kept."""
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _form(request, storage, content_type, open_files)
    if kind == "application/json":
        return _rows(await _text(request))
    if kind == "text/csv" or kind in _JSONL_TYPES:
        text = await _text(request)
        file_name = "manifest.csv" if kind == "text/csv" else "manifest.jsonl"
        return ReceivedBatch(text.whole, "", file_name, content=text.sha256)
    detail = f"A batch comes as text/csv, application/jsonl, application/json or multipart/form-data, not as {kind!r}"
    raise Problem(415, "type_not_accepted", detail)


async def _text(request: Request) -> TextPart:
    text = TextPart(checks.MAX_BYTES)
    await stream_body(request, text.write, checks.MAX_BYTES)
    return text


def _rows(text: TextPart) -> ReceivedBatch:
    try:
        body = RowsIn.model_validate_json(text.whole)
    except ValidationError as error:
        raise not_understood(error) from None
    manifest = "\n".join(map(json.dumps, body.rows)).encode()
    return ReceivedBatch(manifest, body.name or "", "manifest.jsonl", {}, _assets(body.assets), text.sha256)


def not_understood(error: ValidationError) -> Problem:
    """Return the problem for a body that is not JSON or does not match the schema."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    invalid = [{"where": ".".join(("body", *map(str, item["loc"]))), "message": item["msg"]} for item in errors[:100]]
    detail = "; ".join(f"{item['where']}: {item['message']}" for item in invalid[:3])
    return Problem(422, "invalid_request", detail, invalid=invalid)


async def _form(request: Request, storage: Storage, content_type: str, open_files: ExitStack) -> ReceivedBatch:
    form = _Form(content_type, storage, open_files)
    await stream_body(request, form.feed, _MAX_FORM_BYTES)
    form.finish()
    return form.received()


class _Form(MultipartForm):
    """Collects the parts of a form."""

    def __init__(self, content_type: str, storage: Storage, open_files: ExitStack) -> None:
        super().__init__(content_type)
        self._storage = storage
        self._open_files = open_files
        self._texts: dict[str, TextPart] = {}
        self._files: dict[str, Upload] = {}
        self._manifest_name = ""

    def open_part(self, name: str, file_name: str | None) -> TextPart | Upload:
        if name == "files":
            return self._open_file(file_name)
        if name not in {"manifest", "assets"} or name in self._texts:
            raise _bad_part("A form has one part `manifest`, any number of `files`, and at most one part `assets`")
        if name == "manifest" and file_name:
            self._manifest_name = file_name.replace("\\", "/").rpartition("/")[2]
        self._texts[name] = TextPart(checks.MAX_BYTES)
        return self._texts[name]

    def _open_file(self, name: str | None) -> Upload:
        if not name:
            raise _bad_part("A part `files` needs the file's name")
        if name in self._files:
            raise _bad_part(f"Two files are called {name}")
        if len(self._files) == MOST_FILES:
            raise Problem(413, "too_many_files", f"A request may have at most {MOST_FILES} files")
        self._files[name] = Upload(self._storage, name, self._open_files)
        return self._files[name]

    def received(self) -> ReceivedBatch:
        if "manifest" not in self._texts:
            raise _bad_part("The part `manifest` is missing")
        text, assets_part = self._texts["manifest"], self._texts.get("assets")
        asset_hashes = _assets(_json(assets_part.whole)) if assets_part else {}
        if duplicates := sorted(asset_hashes.keys() & self._files.keys()):
            raise _bad_part(f"{duplicates[0]} is both a file and an asset")
        # Do not use the raw bytes: a client chooses another boundary each time it sends the request.
        content = [text.sha256, asset_hashes, {name: upload.incoming.sha256 for name, upload in self._files.items()}]
        name = self._manifest_name
        return ReceivedBatch(text.whole, name, name or "manifest.csv", self._files, asset_hashes, json.dumps(content))


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _bad_part("The part `assets` is not JSON") from None


def _assets(value: Any) -> dict[str, str]:
    """Return the hash for each name."""
    if not isinstance(value, dict) or not all(isinstance(asset, str) and hash_of(asset) for asset in value.values()):
        raise _bad_part('`assets` is an object such as {"beach.mp4": "sha256:…"}, with 64 hexadecimal digits')
    return {name: hash_of(asset) for name, asset in value.items()}


def _bad_part(detail: str) -> Problem:
    return Problem(422, "invalid_request", detail)


def check(here: Service, owner: str, received: ReceivedBatch, options: BatchOptions) -> CheckedBatch:
    """Check the whole batch. Names in it refer to uploaded files and assets, never to paths on this machine."""
    skills = here.skills
    skills.named(options.skill)
    storage = Storage.of(here.settings)
    hashes = {*received.assets.values(), *_hashes_in(received.manifest)}
    with here.store.write() as session:
        known = assets.use(session, owner, hashes, here.store.now(session))
    stored = {sha256: _asset(storage, asset) for sha256, asset in known.items() if storage.stat(sha256)}
    given: dict[str, UploadedFile | None] = {name: stored.get(sha256) for name, sha256 in received.assets.items()}
    given |= {name: _uploaded_file(upload) for name, upload in received.files.items()}
    files = UploadedFiles(given, {f"{PREFIX}{sha256}": asset for sha256, asset in stored.items()})
    checked = checks.check(
        received.manifest,
        name=received.file_name,
        files=files,
        skills=skills,
        default_skill=options.skill,
        refuse_url=partial(_refuse, here),
    )
    return CheckedBatch(checked, files.inputs)


def _hashes_in(text: bytes) -> set[str]:
    """Return the hashes in a manifest. Without its zero bytes, UTF-16 can be searched too."""
    return {match.decode() for match in _ASSET_ID.findall(text.replace(b"\0", b""))}


def _asset(storage: Storage, asset: Asset) -> UploadedFile:
    return UploadedFile(asset.sha256, asset.size, asset.name, partial(storage.path, asset.sha256))


def _uploaded_file(upload: Upload) -> UploadedFile:
    incoming = upload.incoming
    return UploadedFile(incoming.sha256, incoming.size, upload.name, lambda: incoming.path)


def _refuse(here: Service, url: str) -> str:
    """Return why a URL is refused, or an empty string.

    The remote service fetches it, not this one, but private networks must not be addressed in any case.
    """
    try:
        egress.check(url, here.settings.allowed_networks)
    except AddressRefused as refused:
        return str(refused)
    return ""


def order_for(
    owner: str, received: ReceivedBatch, options: BatchOptions, batch: CheckedBatch, batch_id: str = ""
) -> Submission:
    """Return the order to submit."""
    return Submission(
        owner=owner,
        name=batch_name(options.name or received.name or "batch"),
        source=Path(),
        out=Path(),
        rows=batch.checked.rows,
        columns=batch.checked.columns,
        limit_credits=options.limit_credits,
        first=options.first,
        options={"form": batch.checked.form},
        inputs=batch.inputs,
        batch_id=batch_id,
    )


def batch_name(name: str) -> str:
    """Return the name of a batch. Raise a problem if it is not valid."""
    if control_character(name) or "\n" in name or len(name) > _MAX_NAME:
        raise Problem(422, "invalid_name", f"A batch name has at most {_MAX_NAME} printable characters")
    return name


def submit(here: Service, owner: str, received: ReceivedBatch, options: BatchOptions, batch_id: str) -> None:
    """Keep the files of a batch and queue its rows. Raise `ManifestError` if the manifest has errors.

    Files are kept before the rows are queued. Should the process die in between, no row is left without its files.
    """
    batch = check(here, owner, received, options)
    batch.checked.rows_or_raise()
    submission = order_for(owner, received, options, batch, batch_id)
    used = set(batch.inputs.values())
    kept = [(name, file.incoming.keep()) for name, file in received.files.items() if file.incoming.sha256 in used]
    assets.record(here.store, owner, kept)
    account_id = accounts.account_for(here.store, here.vault, here.settings)
    submitter.submit(here.store, submission, service=here.settings.nemo_api_url, account_id=account_id)
