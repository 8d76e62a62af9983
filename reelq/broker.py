"""The Celery app, its Redis transport, and publishing: a chain of tasks per job, a task per webhook delivery."""

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from celery import Celery, chain
from kombu.exceptions import OperationalError
from kombu.transport import TRANSPORT_ALIASES, redis

from reelq.job import ROUTES, Stage
from reelq.logs import warn_unavailable
from reelq.settings import Settings
from reelq.store.db.engine import Store, Transaction
from reelq.store.jobs import admission
from reelq.store.jobs.scheduler import Due, Message, due
from reelq.store.webhooks import deliveries
from reelq.store.webhooks.deliveries import DeliveryMessage

if TYPE_CHECKING:
    from celery.canvas import Signature


class Channel(redis.Channel):
    """Reuses one Redis client per connection pool. The client has no state of its own, so threads can share it."""

    _shared_client: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc] # kombu has no stubs
        if self._shared_client is None or self._shared_client.connection_pool is not self.pool:
            self._shared_client = super()._create_client()  # type: ignore[misc]
        return self._shared_client


class Transport(redis.Transport):
    """The transport for `redis://` and `rediss://` URLs."""

    Channel = Channel


log = logging.getLogger(__name__)
QUEUE: Final = "reelq"
DELIVER: Final = "deliver"
"""The task that sends a webhook delivery."""
AT_ONCE: Final = 500
# Don't record unacknowledged messages in Redis: the database publishes a dead worker's jobs again long before the
# broker would, and the records cost two Redis transactions per message.
_NO_ACK_LOG: Final = {"ack_emulation": False}
_TRANSPORT_OPTIONS: Final = {"memory": {"polling_interval": 0.05}, "redis": _NO_ACK_LOG, "rediss": _NO_ACK_LOG}


def make_celery(settings: Settings) -> Celery:
    """The Celery app of this deployment, with its broker, or with one in memory if none is configured."""
    broker = settings.reelq_broker_url.get_secret_value() if settings.reelq_broker_url else "memory://"
    # Registered under the schemes, so that Celery shows and configures it as Redis.
    TRANSPORT_ALIASES.update({"redis": "reelq.broker:Transport", "rediss": "reelq.broker:Transport"})
    app = Celery("reelq", broker=broker, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_default_queue=QUEUE,
        task_acks_late=True,
        task_reject_on_worker_lost=False,  # expired leases requeue a dead worker's jobs, once and under a new run
        worker_prefetch_multiplier=1,
        # Stages wait on the network: threads do as well as processes, and one process renews all its leases together.
        worker_pool="threads",
        worker_concurrency=settings.reelq_max_in_flight,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # retry forever: a worker survives a broker that is down all night
        broker_transport_options=_TRANSPORT_OPTIONS.get(broker.partition("://")[0], {}),
        enable_utc=True,
        timezone="UTC",
    )
    return app


def chain_for(app: Celery, message: Message) -> "Signature[Any]":
    """Return the chain of a job's remaining stages, as tasks by name: the publisher needs none of their code."""
    stages = ROUTES[message.route]
    first, *rest = (_link(app, message, stage) for stage in stages[stages.index(message.stage) :])
    first.options["retries"] = message.again
    return chain(first, *rest, app=app)


def _link(app: Celery, message: Message, stage: Stage) -> "Signature[Any]":
    link: Signature[Any] = app.signature(
        str(stage), args=(message.job_id, message.run), immutable=True, queue=QUEUE, argsrepr=message.title
    )
    link.set(task_id=task_id(message, stage))
    return link


def task_id(message: Message, stage: Stage) -> str:
    """The task id of one stage of a job, as shown in Flower."""
    return f"{message.job_id}.{stage}.{message.run}"


def delivery_of(app: Celery, notice: DeliveryMessage) -> "Signature[Any]":
    """The task for the next attempt of a delivery."""
    args = (notice.delivery_id, notice.attempts)
    task: Signature[Any] = app.signature(DELIVER, args=args, immutable=True, queue=QUEUE, argsrepr=notice.title)
    task.set(task_id=f"{notice.delivery_id}.{DELIVER}.{notice.attempts}")
    return task


class Dispatch:
    """Publishes what is due in the database. It marks before it sends, so a lost message is sent again later."""

    def __init__(self, app: Celery, store: Store, batch_id: str | None = None) -> None:
        """With `batch_id`, publish only what belongs to that batch."""
        self._app = app
        self._store = store
        self._batch_id = batch_id

    def due(self, session: Transaction, now: datetime, *, polls: bool = True) -> Due:
        """Jobs that are due, marked as published: to be sent after the commit. Polls only if `polls` is true."""
        return due(session, now, AT_ONCE, self._batch_id, polls=polls)

    def admit(self, session: Transaction, now: datetime) -> list[Message]:
        """Admit the jobs that there is room for, marked as published too."""
        return admission.admit(session, now, self._batch_id)

    def publish(self, messages: Iterable[Message]) -> None:
        """Send the messages."""
        self._send(chain_for(self._app, message) for message in messages)

    def deliveries(self, slots: int) -> int:
        """Send due webhook deliveries, with at most `slots` in flight."""
        with self._store.read() as session:
            if not deliveries.anything_due(session, self._store.now(session)):
                return 0
        with self._store.write() as session:
            notices = deliveries.due(session, self._store.now(session), slots)
        return self._send(delivery_of(self._app, notice) for notice in notices)

    def _send(self, tasks: "Iterable[Signature[Any]]") -> int:
        sent = 0
        for task in tasks:
            try:
                task.apply_async()
            except OperationalError as error:
                warn_unavailable(log, "broker", f"Unsent messages are sent again later ({error}).")
                break
            sent += 1
        return sent
