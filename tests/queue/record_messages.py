"""Writes down what this version publishes, as it lies in Redis: `python -m tests.queue.record_messages`.

A new version records its own beside those of the older ones, which stay: a queue outlives an update, and whatever an
older version left in it has to be understood. Needs a redis-server. `{job}`, `{batch}` and `{delivery}` stand for ids.
"""

import base64
import json
import tempfile
import uuid
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import redis
from pydantic import SecretStr

from reelq.broker import QUEUE, chain_for, delivery_of, make_celery
from reelq.job import ROUTES, Route, Stage
from reelq.settings import Settings
from reelq.store.jobs.scheduler import Message
from reelq.store.webhooks.deliveries import DeliveryMessage
from tests.servers import Redis

if TYPE_CHECKING:
    from celery import Celery
    from celery.canvas import Signature

MESSAGES: Final = Path(__file__).with_name("messages")
JOB, DELIVERY = "{job}", "{delivery}"


def as_it_lies(told: Mapping[str, Any], **names: str) -> str:
    """A recorded message as one puts it into the queue: names filled in, the body in base64 as Celery has it."""
    if "raw" in told:
        return str(told["raw"])
    filled = json.dumps({key: told[key] for key in ("envelope", "body") if key in told}, ensure_ascii=False)
    for name, value in {**names, "tag": str(uuid.uuid4())}.items():
        filled = filled.replace("{" + name + "}", value)
    message = json.loads(filled)
    if "body" not in message:
        return json.dumps(message["envelope"])
    body = message["body"] if told.get("body_is_text") else json.dumps(message["body"])
    return json.dumps(message["envelope"] | {"body": base64.b64encode(body.encode()).decode()})


def _recorded(queue: Any, task: "Signature[Any]") -> dict[str, Any]:
    task.apply_async()
    (item,) = queue.lrange(QUEUE, 0, -1)
    queue.flushall()
    envelope = json.loads(item)
    body = json.loads(base64.b64decode(envelope.pop("body")))
    envelope["headers"]["origin"] = "a process of that version"
    envelope["properties"]["delivery_tag"] = "{tag}"
    return {"recorded_by": f"reelq {version('reelq')}", "celery": version("celery"), "envelope": envelope, "body": body}


def _tasks(app: "Celery") -> dict[str, "Signature[Any]"]:
    def edit(stage: Stage) -> "Signature[Any]":
        return chain_for(app, Message(JOB, 1, Route.EDIT, stage, "row 1 · beach.mp4 · {batch}"))

    edits = {f"edit-from-{stage}": edit(stage) for stage in ROUTES[Route.EDIT]}
    return edits | {"deliver": delivery_of(app, DeliveryMessage(DELIVERY, 0, "job.succeeded to example.com"))}


def main() -> None:
    """Record one of each kind."""
    folder = MESSAGES / version("reelq")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        server = Redis(Path(place))
        try:
            app = make_celery(Settings(reelq_broker_url=SecretStr(server.url)))
            with redis.Redis.from_url(server.url) as queue:
                for name, task in _tasks(app).items():
                    told = json.dumps(_recorded(queue, task), ensure_ascii=False, indent=1)
                    (folder / f"{name}.json").write_text(f"{told}\n", encoding="utf-8")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
