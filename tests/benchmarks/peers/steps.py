"""What all peers share: the six steps as plain calls of httpx, with the checks that a careful person would make.

A job is a dict that goes through the six and gathers what the next ones need, so that every library can carry it as
JSON. Nothing here is durable, and nothing is told apart beyond what a script would: that is the peers' own affair.
"""

import asyncio
import csv
import hashlib
import json
import os
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import httpx

Job = dict[str, Any]

OUT: Final = Path(os.environ.get("BENCH_OUT", "out"))
LOOK_EVERY: Final = float(os.environ.get("BENCH_LOOK_EVERY", "30"))
MOST_LOOKS: Final = 20
AT_ONCE: Final = int(os.environ.get("BENCH_AT_ONCE", "64"))
"""Most rows at work at once; 0 for no limit."""
_RATE_LIMIT_WAIT: Final = 30.0
_ATTRIBUTION: Final = {"X-Skill-Source": "video-models", "X-Skill-Version": "1.0.0", "X-Skill-Platform": "unknown"}
_STATE: Final = "/api/state/nemo_agent/me/{session}/latest"
_RENDERS: Final = "/api/render/proxy/lambda"
_PATIENCE: Final = httpx.Timeout(60, read=600, pool=None)
_ANY_NUMBER: Final = httpx.Limits(max_connections=None, max_keepalive_connections=None)
_NONE_KEPT: Final = httpx.Limits(max_connections=None, max_keepalive_connections=0)
_FOR_FILES: Final[dict[str, Any]] = {"timeout": _PATIENCE, "limits": _ANY_NUMBER, "trust_env": False}
"""Results can lie on any host, which is not to see the token: they have a client of their own."""


class StepFailed(Exception):
    """A step did not do what it should; the message says which and why."""


def jobs() -> list[Job]:
    """The rows of the manifest that the script was given, but for those whose results are there: nobody wants to pay
    twice for starting it again."""
    manifest = Path(sys.argv[1])
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    folder = str(manifest.parent.resolve())
    return [{**row, "folder": folder} for row in rows if not (OUT / row["output"]).exists()]


async def side_by_side(one: Callable[[Job], Awaitable[None]]) -> int:
    """As many rows at once as may be. Whether any failed, as an exit code; one that does leaves the others alone."""
    wanted = jobs()
    room = asyncio.Semaphore(AT_ONCE or max(1, len(wanted)))

    async def within(job: Job) -> None:
        async with room:
            await one(job)

    ends = await asyncio.gather(*map(within, wanted), return_exceptions=True)
    failures = [end for end in ends if isinstance(end, BaseException)]
    for failure in failures:
        print(f"{type(failure).__name__}: {failure}", file=sys.stderr)
    return int(bool(failures))


def _options() -> dict[str, Any]:
    headers = {**_ATTRIBUTION, "Authorization": f"Bearer {os.environ['NEMO_TOKEN']}"}
    return {"base_url": os.environ["NEMO_API_URL"], "headers": headers, **_FOR_FILES}


class Steps:
    """The six steps, for scripts that wait."""

    def __init__(self) -> None:
        self._http = httpx.Client(**_options())
        self._files = httpx.Client(**_FOR_FILES)

    def upload(self, job: Job) -> Job:
        """A session of its own for the row, with its clip in it."""
        asked = {"task_name": "project", "language": "en"}
        session = str(self._ask("POST", "/api/tasks/me/with-session/nemo_agent", json=asked)["data"]["session_id"])
        with ExitStack() as stack:
            clip = stack.enter_context((Path(job["folder"]) / job["file"]).open("rb"))
            told = self._ask("POST", f"/api/upload-video/nemo_agent/me/{session}", files={"files": (job["file"], clip)})
        return uploaded(job, session, told)

    def edit(self, job: Job) -> Job:
        """Tell the agent, and listen to the end."""
        before = self._ask("GET", _STATE.format(session=job["session"]))
        while True:
            with self._http.stream("POST", "/run_sse", json=_message(job)) as answer:
                if not _limited(answer):
                    _listen(answer, answer.iter_lines())
                    return {**job, "before": fingerprint(before)}
            time.sleep(_RATE_LIMIT_WAIT)

    def verify(self, job: Job) -> Job:
        """The state has to differ from that before the edit."""
        return verified(job, self._ask("GET", _STATE.format(session=job["session"])))

    def render(self, job: Job) -> Job:
        """Order the export of what the session now holds."""
        state = self._ask("GET", _STATE.format(session=job["session"]))
        order = _order(job, state)
        self._ask("POST", _RENDERS, json=order)
        return {**job, "render": order["id"]}

    def look(self, job: Job) -> Job | None:
        """One look: the job with its result's address, or None while it is not done."""
        return looked(job, self._ask("GET", f"{_RENDERS}/{job['render']}"))

    def poll(self, job: Job) -> Job:
        """Look until it is done."""
        for _ in range(MOST_LOOKS):
            time.sleep(LOOK_EVERY)
            if found := self.look(job):
                return found
        raise StepFailed(f"poll: {job['render']} is not done after {MOST_LOOKS} looks")

    def download(self, job: Job) -> Job:
        """The file under its own name once all of it is there."""
        part = _part(job)
        with self._files.stream("GET", job["url"]) as answer, part.open("wb") as file:
            answer.raise_for_status()
            for piece in answer.iter_bytes():
                file.write(piece)
        return downloaded(job, part, answer)

    def _ask(self, method: str, path: str, **body: Any) -> Job:
        while True:
            answer = self._http.request(method, path, **body)
            if not _limited(answer):
                return _read(path, answer)
            time.sleep(_RATE_LIMIT_WAIT)


class AsyncSteps:
    """The same six, for scripts that await."""

    def __init__(self) -> None:
        # Each request makes a pool look at all of its connections: with a thousand of them nothing else would be done
        # (31 of 1,000 rows in two minutes). So streams have a pool of their own, and the rest as many connections as
        # httpx gives by itself, without a crowd that waits for them.
        self._room = asyncio.Semaphore(100)
        self._http = httpx.AsyncClient(**_options() | {"limits": httpx.Limits(max_connections=100)})
        self._streams = httpx.AsyncClient(**_options() | {"limits": _NONE_KEPT})
        self._files = httpx.AsyncClient(**_FOR_FILES)

    async def upload(self, job: Job) -> Job:
        asked = {"task_name": "project", "language": "en"}
        told = await self._ask("POST", "/api/tasks/me/with-session/nemo_agent", json=asked)
        session = str(told["data"]["session_id"])
        clip = (job["file"], (Path(job["folder"]) / job["file"]).read_bytes())
        told = await self._ask("POST", f"/api/upload-video/nemo_agent/me/{session}", files={"files": clip})
        return uploaded(job, session, told)

    async def edit(self, job: Job) -> Job:
        before = await self._ask("GET", _STATE.format(session=job["session"]))
        while True:
            async with self._streams.stream("POST", "/run_sse", json=_message(job)) as answer:
                if not _limited(answer):
                    _listen(answer, [line async for line in answer.aiter_lines()])
                    return {**job, "before": fingerprint(before)}
            await asyncio.sleep(_RATE_LIMIT_WAIT)

    async def verify(self, job: Job) -> Job:
        return verified(job, await self._ask("GET", _STATE.format(session=job["session"])))

    async def render(self, job: Job) -> Job:
        order = _order(job, await self._ask("GET", _STATE.format(session=job["session"])))
        await self._ask("POST", _RENDERS, json=order)
        return {**job, "render": order["id"]}

    async def look(self, job: Job) -> Job | None:
        return looked(job, await self._ask("GET", f"{_RENDERS}/{job['render']}"))

    async def poll(self, job: Job) -> Job:
        for _ in range(MOST_LOOKS):
            await asyncio.sleep(LOOK_EVERY)
            if found := await self.look(job):
                return found
        raise StepFailed(f"poll: {job['render']} is not done after {MOST_LOOKS} looks")

    async def download(self, job: Job) -> Job:
        part = _part(job)
        with part.open("wb") as file:
            async with self._files.stream("GET", job["url"]) as answer:
                answer.raise_for_status()
                async for piece in answer.aiter_bytes():
                    file.write(piece)
        return downloaded(job, part, answer)

    async def _ask(self, method: str, path: str, **body: Any) -> Job:
        while True:
            async with self._room:
                answer = await self._http.request(method, path, **body)
            if not _limited(answer):
                return _read(path, answer)
            await asyncio.sleep(_RATE_LIMIT_WAIT)


def fingerprint(state: Job) -> str:
    """What a session's timeline is, in few letters."""
    return hashlib.sha256(json.dumps(state["data"]["state"]["draft"], sort_keys=True).encode()).hexdigest()


def uploaded(job: Job, session: str, told: Job) -> Job:
    if len(told["data"]["files"]) != 1:
        raise StepFailed(f"upload: {job['file']} is not among {told['data']['files']}")
    return {**job, "session": session}


def verified(job: Job, state: Job) -> Job:
    if fingerprint(state) == job["before"]:
        raise StepFailed(f"verify: nothing was changed for {job['file']}")
    return job


def looked(job: Job, told: Job) -> Job | None:
    """Whether it is done, in whichever of the answer's forms."""
    told = told.get("data", told)
    if told["status"] == "failed":
        raise StepFailed(f"poll: {job['render']} failed: {told.get('error')}")
    if told["status"] != "completed":
        return None
    return {**job, "url": told.get("outputUrl") or told["output"]["url"]}


def downloaded(job: Job, part: Path, answer: httpx.Response) -> Job:
    size, told = part.stat().st_size, int(answer.headers["content-length"])
    if size != told:
        raise StepFailed(f"download: {size} bytes of {told}")
    part.replace(OUT / job["output"])
    return job


def _message(job: Job) -> Job:
    told = {"parts": [{"text": job["instruction"]}]}
    return {"app_name": "nemo_agent", "user_id": "me", "session_id": job["session"], "new_message": told}


def _order(job: Job, state: Job) -> Job:
    output = {"format": "mp4", "quality": "high"}
    draft = state["data"]["state"]["draft"]
    return {"id": f"render_{uuid.uuid4().hex}", "sessionId": job["session"], "draft": draft, "output": output}


def _part(job: Job) -> Path:
    OUT.mkdir(parents=True, exist_ok=True)
    return OUT / f"{job['output']}.part"


def _limited(answer: httpx.Response) -> bool:
    return answer.status_code == 429


def _read(path: str, answer: httpx.Response) -> Job:
    answer.raise_for_status()
    told: Job = answer.json()
    if told.get("code", 0) or told.get("success") is False:
        raise StepFailed(f"{path}: {told}")
    return told


def _listen(answer: httpx.Response, lines: Iterable[str]) -> None:
    """To the end of the stream; an error in it is one of the step."""
    answer.raise_for_status()
    for line in lines:
        if line.startswith("data:") and ('"error"' in line or '"errorCode"' in line):
            raise StepFailed(f"edit: {line}")
