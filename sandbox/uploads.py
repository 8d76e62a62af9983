"""The upload endpoint: receives files or URLs, and adds them to the timeline."""

from typing import TYPE_CHECKING

from sandbox.agent import lay_clip
from sandbox.envelope import Code, Refusal, success
from sandbox.intake import Incoming, Intake
from sandbox.media import Facts, kind_of, probe
from sandbox.sessions import file_info
from sandbox.state import Media

if TYPE_CHECKING:
    from starlette.responses import Response

    from sandbox.middleware import AuthenticatedCall as Visit
    from sandbox.service import Service
    from sandbox.state import Session


async def upload(visit: "Visit") -> "Response":
    session = visit.session(visit.param("session_id"))
    intake = Intake(visit.service.folder, visit.service.settings.max_file_bytes)
    try:
        await _receive(visit, intake)
        await visit.service.wait("upload")
        uploaded = [await _store(visit.service, incoming) for incoming in intake.files]
    finally:
        intake.discard()
    applied = not visit.strikes("upload_not_applied")
    for media in uploaded:
        _register(visit.service, session, media, on_draft=applied)
    base = str(visit.request.base_url)
    return success({"files": [file_info(media, base) for media in uploaded], "session_state_applied": applied})


async def _receive(visit: "Visit", intake: Intake) -> None:
    content_type = visit.request.headers.get("content-type", "")
    if content_type.startswith("multipart/form-data"):
        await intake.read_multipart(content_type, visit.request.stream())
        return
    body = await visit.json()
    urls = body.get("urls")
    if body.get("source_type") != "url" or not isinstance(urls, list) or not urls:
        raise Refusal(Code.UNPROCESSABLE, 'a JSON upload needs "urls" and "source_type": "url"')
    for url in urls:
        await intake.fetch(url)


async def _store(service: "Service", incoming: Incoming) -> Media:
    """Store a file; equal contents are stored and probed once."""
    kind = kind_of(incoming.filename) or ""
    path = service.folder / f"{incoming.sha256}-{kind}"
    if path not in service.facts:
        incoming.path.replace(path)
        service.facts[path] = await probe(path, kind)
    facts: Facts = service.facts[path]
    return Media(
        filename=incoming.filename,
        kind=kind,
        path=path,
        sha256=incoming.sha256,
        size=incoming.size,
        cdn=f"files/{incoming.sha256[:24]}/{incoming.filename}",
        duration=facts.duration,
        width=facts.width,
        height=facts.height,
        fps=facts.fps,
    )


def _register(service: "Service", session: "Session", media: Media, *, on_draft: bool) -> None:
    session.media.append(media)
    service.world.files[media.cdn] = media.path
    service.ledger.upload(session.id, media.filename, media.size, media.sha256)
    if on_draft:
        lay_clip(session.draft, media)
