"""The post: a Celery app that carries messages, and the chain that a job is sent as. The truth stays in SQL."""

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from celery import Celery
from kombu.exceptions import OperationalError
from kombu.transport import TRANSPORT_ALIASES

from reelq.job import ROUTES, Stage
from reelq.settings import Settings
from reelq.store import deliveries, turns
from reelq.store.deliveries import Notice
from reelq.store.due import Due, Message, due
from reelq.store.session import Store, Transaction

if TYPE_CHECKING:
    from celery.canvas import Signature

log = logging.getLogger(__name__)

QUEUE: Final = "reelq"
DELIVER: Final = "deliver"
"""The task that tells an endpoint of something."""
AT_ONCE: Final = 500
# What a worker has taken is not written down in Redis as well: what dies with a worker is published again as the
# database says, long before the broker would miss it, and the notes cost a worker two transactions a message.
_NO_NOTES: Final = {"ack_emulation": False}
_TRANSPORT_OPTIONS: Final = {"memory": {"polling_interval": 0.05}, "redis": _NO_NOTES, "rediss": _NO_NOTES}


def make_celery(settings: Settings) -> Celery:
    """The app of this deployment: over its broker, or within this process where none is configured."""
    broker = settings.reelq_broker_url.get_secret_value() if settings.reelq_broker_url else "memory://"
    # Named by its scheme, it is told of as what it is, and set up as the scheme asks for.
    TRANSPORT_ALIASES.update({"redis": "reelq.broker:Transport", "rediss": "reelq.broker:Transport"})
    app = Celery("reelq", broker=broker, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_default_queue=QUEUE,
        task_acks_late=True,
        task_reject_on_worker_lost=False,  # the lifeline brings a dead worker's jobs back, once and under a new run
        worker_prefetch_multiplier=1,
        # Stages wait on the network: threads are as good as processes, and one process renews all its leases at once.
        worker_pool="threads",
        worker_concurrency=settings.reelq_max_in_flight,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # for as long as it is away: a night must not be the end of a worker
        broker_transport_options=_TRANSPORT_OPTIONS.get(broker.partition("://")[0], {}),
        enable_utc=True,
        timezone="UTC",
    )
    return app


def chain_for(app: Celery, message: Message) -> "Signature[Any]":
    """What is left of a job's stages, as tasks by name: whoever sends it needs none of their code."""
    stages = ROUTES[message.route]
    first, *rest = (_link(app, message, stage) for stage in stages[stages.index(message.stage) :])
    # As `celery.chain` sends it, which copies each link several times before.
    first.options.update(retries=message.again, chain=rest[::-1])
    return first


def _link(app: Celery, message: Message, stage: Stage) -> "Signature[Any]":
    link: Signature[Any] = app.signature(
        str(stage), args=(message.job_id, message.run), immutable=True, queue=QUEUE, argsrepr=message.title
    )
    link.set(task_id=task_id(message, stage))
    return link


def task_id(message: Message, stage: Stage) -> str:
    """What one stage of a job is called in Flower."""
    return f"{message.job_id}.{stage}.{message.run}"


def delivery_of(app: Celery, notice: Notice) -> "Signature[Any]":
    """The task that makes a delivery's next try."""
    args = (notice.delivery_id, notice.attempts)
    task: Signature[Any] = app.signature(DELIVER, args=args, immutable=True, queue=QUEUE, argsrepr=notice.title)
    task.set(task_id=f"{notice.delivery_id}.{DELIVER}.{notice.attempts}")
    return task


class Dispatch:
    """Publishes what the database says has to go out. Marked first, sent after: a message lost is sent again later."""

    def __init__(self, app: Celery, store: Store, batch_id: str | None = None) -> None:
        """With a batch, only what belongs to it goes out."""
        self._app = app
        self._store = store
        self._batch_id = batch_id

    def due(self, session: Transaction, now: datetime, *, looks: bool = True) -> Due:
        """What is due (again), marked as gone out: to be dealt with after the commit. Looks only if wanted."""
        return due(session, now, AT_ONCE, self._batch_id, looks=looks)

    def let_in(self, session: Transaction, now: datetime) -> list[Message]:
        """What there is room for, marked as well."""
        return turns.admit(session, now, self._batch_id)

    def publish(self, messages: Iterable[Message]) -> None:
        """Send them."""
        self._send(chain_for(self._app, message) for message in messages)

    def deliveries(self, slots: int) -> int:
        """Send what endpoints are to be told, so many at once as take up no more than these slots."""
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
                away = {"away": "broker"}
                log.warning("the broker is away (%s); what was not sent is sent again later", error, extra=away)
                break
            sent += 1
        return sent
