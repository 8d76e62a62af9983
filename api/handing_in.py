"""What comes as a batch: taken in whichever way it is written, checked, and handed in, or only foretold."""

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

from api.intake import Text, Upload, pour
from api.multipart import Parts
from api.problems import Problem
from api.service import Service
from reelq import manifest, outward
from reelq.errors import AddressRefused
from reelq.manifest import Checked
from reelq.manifest.table import control_character
from reelq.manifest.uploads import Given, UploadedFiles
from reelq.storage import PREFIX, Storage, hash_of
from reelq.store import accounts, assets, submissions
from reelq.store.orders import Order

MOST_FILES: Final = 1000
_MOST_BYTES: Final = 10_000_000_000
_LONGEST_NAME: Final = 200
_HASH: Final = re.compile(rb"sha256:([0-9a-f]{64})")
_LINES: Final = frozenset({"application/jsonl", "application/x-ndjson", "application/ndjson"})


class RowsIn(BaseModel):
    """A batch as JSON: its rows, each an object whose keys are a manifest's columns."""

    model_config = ConfigDict(extra="forbid")

    rows: list[dict[str, Any]] = Field(min_length=1)
    name: str | None = Field(default=None, min_length=1, max_length=_LONGEST_NAME)
    assets: dict[str, str] = Field(default_factory=dict)
    """What names in the rows stand for, as `sha256:…`."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for beside the rows."""

    name: str | None = None
    skill: str = manifest.DEFAULT_SKILL
    first: int | None = None
    limit_credits: int | None = None


@dataclass(slots=True)
class Received:
    """A batch as it came: the manifest, and what its names stand for."""

    manifest: bytes = b""
    name: str = ""
    file_name: str = "manifest.csv"
    """What the manifest is called to the checker, which goes by the ending."""
    files: dict[str, Upload] = field(default_factory=dict)
    assets: dict[str, str] = field(default_factory=dict)
    content: str = ""
    """What tells this from all else that could have come."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the checker says of it, and the content behind each name in it."""

    checked: Checked
    inputs: Mapping[str, str]


async def receive(request: Request, storage: Storage, open_files: ExitStack) -> Received:
    """The batch that a request carries. Its files lie aside until `open_files` is closed, or they are kept."""
    told = request.headers.get("content-type", "")
    kind = told.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _form(request, storage, told, open_files)
    if kind == "application/json":
        return _rows(await _text(request))
    if kind == "text/csv" or kind in _LINES:
        text = await _text(request)
        return Received(text.whole, "", "manifest.csv" if kind == "text/csv" else "manifest.jsonl", content=text.sha256)
    detail = f"A batch comes as text/csv, application/jsonl, application/json or multipart/form-data, not as {kind!r}"
    raise Problem(415, "type_not_accepted", detail)


async def _text(request: Request) -> Text:
    text = Text(manifest.MAX_BYTES)
    await pour(request, text.write, manifest.MAX_BYTES)
    return text


def _rows(text: Text) -> Received:
    try:
        came = RowsIn.model_validate_json(text.whole)
    except ValidationError as error:
        raise not_understood(error) from None
    lines = "\n".join(map(json.dumps, came.rows)).encode()
    return Received(lines, came.name or "", "manifest.jsonl", {}, _assets(came.assets), text.sha256)


def not_understood(error: ValidationError) -> Problem:
    """JSON that is none, or of another shape."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    invalid = [{"where": ".".join(("body", *map(str, one["loc"]))), "message": one["msg"]} for one in found[:100]]
    detail = "; ".join(f"{one['where']}: {one['message']}" for one in invalid[:3])
    return Problem(422, "invalid_request", detail, invalid=invalid)


async def _form(request: Request, storage: Storage, content_type: str, open_files: ExitStack) -> Received:
    form = _Form(storage, open_files)
    parts = Parts(content_type, form.open_part)
    await pour(request, parts.feed, _MOST_BYTES)
    parts.finish()
    return form.received()


class _Form:
    """The parts of a form, as they come."""

    def __init__(self, storage: Storage, open_files: ExitStack) -> None:
        self._storage = storage
        self._open_files = open_files
        self._texts: dict[str, Text] = {}
        self._files: dict[str, Upload] = {}
        self._manifest_name = ""

    def open_part(self, name: str, file: str | None) -> Text | Upload:
        if name == "files":
            return self._open_file(file)
        if name not in {"manifest", "assets"} or name in self._texts:
            raise _bad_part("A form has one part `manifest`, any number of `files`, and at most one part `assets`")
        if name == "manifest" and file:
            self._manifest_name = file.replace("\\", "/").rpartition("/")[2]
        self._texts[name] = Text(manifest.MAX_BYTES)
        return self._texts[name]

    def _open_file(self, file: str | None) -> Upload:
        if not file:
            raise _bad_part("A part `files` needs the file's name")
        if file in self._files:
            raise _bad_part(f"Two files are called {file}")
        if len(self._files) == MOST_FILES:
            raise Problem(413, "too_many_files", f"At most {MOST_FILES} files come in one request")
        self._files[file] = Upload(self._storage, file, self._open_files)
        return self._files[file]

    def received(self) -> Received:
        if "manifest" not in self._texts:
            raise _bad_part("The part `manifest` is missing")
        text, named = self._texts["manifest"], self._texts.get("assets")
        given = _assets(_json(named.whole)) if named else {}
        if both := sorted(given.keys() & self._files.keys()):
            raise _bad_part(f"{both[0]} comes as a file and as an asset")
        # Not the bytes as they came: at each try a client draws another boundary.
        content = [text.sha256, given, {name: upload.sha256 for name, upload in self._files.items()}]
        name = self._manifest_name
        return Received(text.whole, name, name or "manifest.csv", self._files, given, json.dumps(content))


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _bad_part("The part `assets` is not JSON") from None


def _assets(told: Any) -> dict[str, str]:
    """The hash that each name stands for."""
    if not isinstance(told, dict) or not all(isinstance(one, str) and hash_of(one) for one in told.values()):
        raise _bad_part('`assets` is an object such as {"beach.mp4": "sha256:…"}, with 64 hexadecimal digits')
    return {name: hash_of(asset) for name, asset in told.items()}


def _bad_part(detail: str) -> Problem:
    return Problem(422, "invalid_request", detail)


def judge(here: Service, owner: str, came: Received, wish: Wish) -> Judged:
    """Check it whole. Its names are what came with it or before it, never paths on this machine."""
    known = here.skills
    known.named(wish.skill)
    storage = Storage.of(here.settings)
    wanted = {*came.assets.values(), *_hashes_in(came.manifest)}
    with here.store.write() as session:
        used = assets.use(session, owner, wanted, here.store.now(session))
    there = {sha256: _asset(storage, one) for sha256, one in used.items() if storage.stat(sha256)}
    given: dict[str, Given | None] = {name: there.get(sha256) for name, sha256 in came.assets.items()}
    given |= {name: _upload(upload) for name, upload in came.files.items()}
    files = UploadedFiles(given, {f"{PREFIX}{sha256}": one for sha256, one in there.items()})
    checked = manifest.check(
        came.manifest,
        name=came.file_name,
        files=files,
        skills=known,
        default_skill=wish.skill,
        refuse_url=partial(_refuse, here),
    )
    return Judged(checked, files.inputs)


def _hashes_in(text: bytes) -> set[str]:
    """The contents that a manifest names, in whichever encoding it is."""
    return {found.decode() for found in _HASH.findall(text.replace(b"\0", b""))}


def _asset(storage: Storage, one: assets.Uploaded) -> Given:
    return Given(one.sha256, one.size, one.name, partial(storage.path, one.sha256))


def _upload(upload: Upload) -> Given:
    return Given(upload.sha256, upload.size, upload.name, lambda: upload.incoming.path)


def _refuse(here: Service, url: str) -> str:
    """The remote service fetches it, not we; yet nobody is to be led into a network that is not everybody's."""
    try:
        outward.check(url, here.settings.allowed_networks)
    except AddressRefused as refused:
        return str(refused)
    return ""


def order(owner: str, came: Received, wish: Wish, judged: Judged, batch_id: str = "") -> Order:
    """It, as it is handed in."""
    return Order(
        owner=owner,
        name=named(wish.name or came.name or "batch"),
        source=Path(),
        out=Path(),
        rows=judged.checked.rows,
        columns=judged.checked.columns,
        limit_credits=wish.limit_credits,
        first=wish.first,
        options={"form": judged.checked.form},
        inputs=judged.inputs,
        batch_id=batch_id,
    )


def named(name: str) -> str:
    """A batch's name, if it can be one."""
    if control_character(name) or "\n" in name or len(name) > _LONGEST_NAME:
        raise Problem(422, "invalid_name", f"A batch's name has at most {_LONGEST_NAME} characters, all to be seen")
    return name


def hand_in(here: Service, owner: str, came: Received, wish: Wish, batch_id: str) -> None:
    """Keep its files, and put its rows in the queue; ManifestError where there is a fault in it.

    The contents come first: whatever happens in between, nothing is in the queue whose files are not there.
    """
    judged = judge(here, owner, came, wish)
    judged.checked.rows_or_raise()
    wanted = order(owner, came, wish, judged, batch_id)
    used = set(judged.inputs.values())
    assets.remember(
        here.store, owner, [(name, upload.keep()) for name, upload in came.files.items() if upload.sha256 in used]
    )
    account_id = accounts.account_for(here.store, here.vault, here.settings)
    submissions.submit(here.store, wanted, service=here.settings.nemo_api_url, account_id=account_id)
