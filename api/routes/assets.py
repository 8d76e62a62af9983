"""Assets: files that are uploaded once and can be used in any number of batches."""

from contextlib import ExitStack
from datetime import datetime
from typing import Annotated, Final

from fastapi import Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from api.deps import Caller, Here, Service
from api.errors import Problem, not_found
from api.uploads import Upload, file_too_large, stream_body
from reelq import media
from reelq.media import Kind
from reelq.storage import PREFIX, Storage, hash_of
from reelq.store import assets

AssetId = Annotated[str, Path(pattern=r"^sha256:[0-9a-f]{64}$", examples=[f"sha256:{'0' * 64}"])]
AssetName = Annotated[
    str, Query(min_length=1, max_length=200, description="The file's name. Its extension tells the type.")
]
BODY: Final = {
    "required": True,
    "description": "The file's bytes as they are, at most 500 MB.",
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}


class AssetShown(BaseModel):
    """An uploaded file."""

    id: str
    sha256: str
    size: int
    name: str
    """The file's name at its first upload."""
    kind: Kind | None
    created_at: datetime


async def add_asset(here: Here, caller: Caller, request: Request, name: AssetName) -> Response:
    """Upload a file. The status is 201 if it is new, or 200 if you have uploaded it before."""
    with ExitStack() as open_files:
        upload = Upload(Storage.of(here.settings), name, open_files)
        try:
            await stream_body(request, upload.write, media.MAX_BYTES)
        except Problem as problem:
            raise file_too_large(name) if problem.status == 413 else problem from None
        await run_in_threadpool(upload.end)
        return await run_in_threadpool(_keep, here, caller.owner, upload)


def show_asset(here: Here, caller: Caller, asset_id: AssetId) -> AssetShown:
    """A file that you have uploaded, without its bytes."""
    return _shown(here, caller.owner, hash_of(asset_id))


def has_asset(here: Here, caller: Caller, asset_id: AssetId) -> Response:
    """Whether you have uploaded a file with this content: 200 or 404, without a body."""
    _shown(here, caller.owner, hash_of(asset_id))
    return Response(media_type="application/json")


def _keep(here: Service, owner: str, upload: Upload) -> Response:
    """Keep the file before recording it: a file without a record is better than a record without a file."""
    stored = upload.incoming.keep()
    is_new = assets.record(here.store, owner, [(upload.name, stored)])
    asset = _shown(here, owner, stored.sha256)
    headers = {"Location": f"/v1/assets/{asset.id}"}
    return JSONResponse(asset.model_dump(mode="json"), 201 if is_new else 200, headers)


def _shown(here: Service, owner: str, sha256: str) -> AssetShown:
    with here.store.read() as session:
        found = assets.find(session, owner, sha256)
    if found is None or Storage.of(here.settings).stat(sha256) is None:
        raise not_found("asset")
    fields = {"sha256": found.sha256, "size": found.size, "name": found.name, "created_at": found.created_at}
    return AssetShown(id=f"{PREFIX}{found.sha256}", kind=media.kind_of(found.name), **fields)
