"""Assets: files uploaded once, to be named by any number of batches."""

from contextlib import ExitStack
from datetime import datetime
from typing import Annotated, Final

from fastapi import Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from api.auth import Caller
from api.intake import Upload, file_too_large, pour
from api.problems import Problem, not_found
from api.service import Here, Service
from reelq import media
from reelq.media import Kind
from reelq.storage import PREFIX, Storage, hash_of
from reelq.store import assets

AssetId = Annotated[str, Path(pattern=r"^sha256:[0-9a-f]{64}$", examples=[f"sha256:{'0' * 64}"])]
AssetName = Annotated[
    str, Query(min_length=1, max_length=200, description="The file's name: its ending says what it is.")
]
BODY: Final = {
    "required": True,
    "description": "The file's bytes as they are, at most 500 MB.",
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}


class AssetShown(BaseModel):
    """A file that you have uploaded."""

    id: str
    sha256: str
    size: int
    name: str
    """What it was called when it came first."""
    kind: Kind | None
    created_at: datetime


async def add_asset(here: Here, caller: Caller, request: Request, name: AssetName) -> Response:
    """Upload a file, as it streams. 201 where it is new to you, 200 where you had uploaded it before."""
    with ExitStack() as open_files:
        upload = Upload(Storage.of(here.settings), name, open_files)
        try:
            await pour(request, upload.write, media.MAX_BYTES)
        except Problem as problem:
            raise file_too_large(name) if problem.status == 413 else problem from None
        await run_in_threadpool(upload.end)
        return await run_in_threadpool(_keep, here, caller.owner, upload)


def show_asset(here: Here, caller: Caller, asset_id: AssetId) -> AssetShown:
    """A file that you have uploaded."""
    return _shown(here, caller.owner, hash_of(asset_id))


def has_asset(here: Here, caller: Caller, asset_id: AssetId) -> Response:
    """Whether you have uploaded a file of this content: 200 or 404, and nothing else."""
    _shown(here, caller.owner, hash_of(asset_id))
    return Response(media_type="application/json")


def _keep(here: Service, owner: str, upload: Upload) -> Response:
    """The bytes first: a name for what is not there would be worse than bytes that nobody knows of."""
    stored = upload.keep()
    is_new = assets.remember(here.store, owner, [(upload.name, stored)])
    shown = _shown(here, owner, stored.sha256)
    place = {"Location": f"/v1/assets/{shown.id}"}
    return JSONResponse(shown.model_dump(mode="json"), 201 if is_new else 200, place)


def _shown(here: Service, owner: str, sha256: str) -> AssetShown:
    with here.store.read() as session:
        found = assets.find(session, owner, sha256)
    if found is None or Storage.of(here.settings).stat(sha256) is None:
        raise not_found("asset")
    told = {"sha256": found.sha256, "size": found.size, "name": found.name, "created_at": found.created_at}
    return AssetShown(id=f"{PREFIX}{found.sha256}", kind=media.kind_of(found.name), **told)
