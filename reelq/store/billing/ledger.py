"""Readings of an account's balance, and what each send cost.

The service does not say what a send costs. A drop of the balance between two readings is split, to the credit, among
the sends that may have caused it: those with `bears_costs`.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

from sqlalchemy import Boolean, bindparam, func, or_, select, update

from reelq.nemo.types import Balance
from reelq.store.billing.single_flight import SingleFlight, backoff, claim, release
from reelq.store.db.engine import Store, Transaction
from reelq.store.db.models import Account, Batch, CreditReading, Job, Outcome, Send
from reelq.store.db.statements import add, execute_dml

READING_SECONDS: Final = 30.0
"""How long a claim to read the balance lasts. If another process reads after that, the late reader reads again."""
FRESH_SECONDS: Final = 1.0
"""How old the reading before a send may be. With many sends at once, one for each would be a tenth of all work."""
USUAL_COST: Final = 50
GENERATION_COST: Final = 100
"""The reserve for a send (USUAL_COST) and for one that generates a clip, until the account has shown what they cost."""
_AFTER: Final = "after"
"""The `moment` of a reading that is taken after sends have ended."""
REFUSED: Final = "refused"
"""The `moment` of a reading that is taken right after a send was refused for lack of credits."""
_ADD_COST: Final = (
    update(Send)
    .where(Send.id.in_(bindparam("send_ids", expanding=True)))
    .values(cost=Send.cost + bindparam("part"), shared=or_(Send.shared, bindparam("with_others", type_=Boolean)))
)
_SELECT_ENDED: Final = (
    select(Send.account_id, Send.id)
    .join(Account, Account.id == Send.account_id)
    .where(Send.bears_costs)
    .where(
        or_(
            Send.ended_well,
            Send.outcome.not_in((Outcome.OPEN, Outcome.UNCONFIRMED)),
            # A lost stream: its work may go on and cost something at its end, until no instruction runs that long.
            Send.sent_at < bindparam("sent_before", type_=Send.sent_at.type),
        )
    )
    .where(Account.service_url == bindparam("service"), Account.token.is_not(None))
)
_SELECT_COST_BEARING: Final = select(Send.id).where(Send.job_id == bindparam("job_id"), Send.bears_costs)
# Locked in the same order as by `_lock_bearers`.
_LOCK_SENDS: Final = (
    select(Send.id).where(Send.id.in_(bindparam("send_ids", expanding=True))).order_by(Send.id).with_for_update()
)
_STOP_BEARING: Final = update(Send).where(Send.id.in_(_LOCK_SENDS)).values(bears_costs=False)
_SELECT_LIMIT: Final = (
    select(Job.batch_id, Job.account_id, Job.file, Batch.limit_credits)
    .join(Batch, Batch.id == Job.batch_id)
    .where(Job.id == bindparam("job_id"))
)
_OF_BATCH: Final = Send.batch_id == bindparam("batch_id")
_SUM_OF_COSTS: Final = select(func.coalesce(func.sum(Send.cost), 0)).where(_OF_BATCH)
_ANY_SHARED_COST: Final = select(Send.id).where(_OF_BATCH, Send.shared.is_(True), Send.cost > 0).limit(1)
_in_flight: Final[dict[tuple[str, str], SingleFlight[Balance]]] = {}
"""The single flights of readings in this process, by database and account."""


class _Overtaken(Exception):
    """The claim to read had expired and another process has read since, so this balance is out of order."""


def split(drop: int, bearers: int) -> list[int]:
    """Split a drop into equal parts, rounded down, with one more for each of the first, so that they add up to it."""
    each, left = divmod(drop, bearers)
    return [each + 1] * left + [each] * (bearers - left)


def take_reading(
    store: Store, account_id: str, moment: str, read: Callable[[], Balance], fresh: float = 0.0
) -> Balance:
    """Read the balance and record it. Readings of one account never overlap, or they could not be put in order.

    Callers that ask before a reading starts share it. A caller also accepts a reading that started less than `fresh`
    seconds ago. So sixty-four sends that start together cost one or two requests.
    """
    flight = _in_flight.setdefault((str(store.url), account_id), SingleFlight())
    return flight.do(lambda: _read(store, account_id, moment, read), fresh)


def _read(store: Store, account_id: str, moment: str, read: Callable[[], Balance]) -> Balance:
    while True:
        claimed_until = _wait_for_claim(store, account_id)
        try:
            balance = read()
        except BaseException:
            with store.write() as session:
                release(session, account_id, Account.reading_until, claimed_until)
            raise
        try:
            with store.write() as session:
                _record(session, account_id, moment, balance, store.now(session), claimed_until)
        except _Overtaken:
            continue
        return balance


def _wait_for_claim(store: Store, account_id: str) -> datetime:
    pause = backoff()
    while True:
        with store.write() as session:
            claimed_until = claim(session, account_id, Account.reading_until, store.now(session), READING_SECONDS)
        if claimed_until:
            return claimed_until
        time.sleep(next(pause))


def _record(
    session: Transaction, account_id: str, moment: str, balance: Balance, now: datetime, claimed_until: datetime
) -> None:
    """Charge the drop to the sends that bear costs, and add the reading.

    The sends change first and the account last, as in every transaction: PostgreSQL locks rows as they change, and
    another order could deadlock.
    """
    drop = _drop(session, account_id, balance)
    bearers = _lock_bearers(session, account_id) if drop > 0 else ()
    _charge(session, bearers, drop)
    values = {"available": balance.available, "frozen": balance.frozen, "total": balance.total}
    derived = {"top_up": max(-drop, 0), "unattributed": 0 if bearers else max(drop, 0)}
    add(session, CreditReading, {"account_id": account_id, "at": now, "moment": moment, **values, **derived})
    if not release(session, account_id, Account.reading_until, claimed_until):
        raise _Overtaken


def _drop(session: Transaction, account_id: str, balance: Balance) -> int:
    """What the account has lost since the last reading; negative if it has gained."""
    query = select(CreditReading.available + CreditReading.frozen).where(CreditReading.account_id == account_id)
    before = session.execute(query.order_by(CreditReading.id.desc()).limit(1)).scalar_one_or_none()
    return 0 if before is None else before - (balance.available + balance.frozen)


def _lock_bearers(session: Transaction, account_id: str) -> Sequence[int]:
    # Locked in the order of their ids: the update alone would lock them in an order of its own.
    query = select(Send.id).where(Send.account_id == account_id, Send.bears_costs).order_by(Send.id).with_for_update()
    return session.scalars(query).all()


def _charge(session: Transaction, bearers: Sequence[int], drop: int) -> None:
    """Add each send's part of the drop to its cost, in one statement per distinct part: hundreds may bear costs."""
    shares = zip(split(drop, len(bearers)) if bearers else (), bearers, strict=True)
    for part, group in groupby(shares, key=itemgetter(0)):
        values = {"send_ids": [send_id for _, send_id in group], "part": part, "with_others": len(bearers) > 1}
        session.connection().execute(_ADD_COST, values)


def ended_sends(session: Transaction, service: str, sent_before: datetime) -> dict[str, list[int]]:
    """The sends that have ended and still bear costs, by account. They need a reading that starts from now on.

    A send whose end was not seen counts as ended if it was sent before `sent_before`: no instruction runs that long.
    Only accounts of this service that have a token are included: none is requested just to learn a cost.
    """
    found: dict[str, list[int]] = defaultdict(list)
    for account_id, send_id in session.connection().execute(
        _SELECT_ENDED, {"service": service, "sent_before": sent_before}
    ):
        found[account_id].append(send_id)
    return found


def cost_bearing_sends(session: Transaction, job_id: str) -> Sequence[int]:
    """A job's sends that still bear costs."""
    return session.connection().execute(_SELECT_COST_BEARING, {"job_id": job_id}).scalars().all()


def charge_ended(store: Store, account_id: str, send_ids: Sequence[int], read: Callable[[], Balance]) -> None:
    """Find out what these sends, which have ended, cost: take a reading now, and charge no later drop to them."""
    take_reading(store, account_id, _AFTER, read)
    with store.write() as session:
        stop_charging(session, send_ids)


def stop_charging(session: Transaction, send_ids: Sequence[int]) -> None:
    """Charge no later drop to these sends. Call this after a reading that started after their end."""
    session.connection().execute(_STOP_BEARING, {"send_ids": send_ids})


def give_up_charging(session: Transaction, before: datetime) -> None:
    """Charge no later drop to sends that were settled before then: no reading has succeeded since."""
    execute_dml(session, update(Send).where(Send.bears_costs, Send.settled_at < before).values(bears_costs=False))


def spent(session: Transaction, batch_id: str) -> int:
    """What the batch has cost so far."""
    return int(session.execute(_SUM_OF_COSTS, {"batch_id": batch_id}).scalar_one())


def highest_cost(session: Transaction, account_id: str) -> int:
    """The most that one send of the account has cost; 0 if none has cost anything."""
    query = select(func.coalesce(func.max(Send.cost), 0)).where(Send.account_id == account_id)
    return int(session.execute(query).scalar_one())


def refused_at(session: Transaction, account_id: str) -> int:
    """The available balance when a send was last refused; 0 if none was."""
    refused = (CreditReading.account_id == account_id, CreditReading.moment == REFUSED)
    query = select(CreditReading.available).where(*refused)
    return session.execute(query.order_by(CreditReading.id.desc()).limit(1)).scalar_one_or_none() or 0


def reserve_needed(session: Transaction, batch_id: str, account_id: str, *, generates: bool = False) -> int:
    """How much of the batch's limit to reserve for its sends that bear costs, and for one more."""
    highest, known = highest_cost(session, account_id), _has_unshared_cost(session, account_id)
    query = select(Send.cost).where(Send.batch_id == batch_id, Send.bears_costs)
    # This does not know which of them generate clips: until a cost is known, assume that each does.
    each = highest if known else max(highest, GENERATION_COST)
    one_more = highest if known else max(highest, GENERATION_COST if generates else USUAL_COST)
    return sum(max(each - cost, 0) for cost in session.scalars(query)) + one_more


def _has_unshared_cost(session: Transaction, account_id: str) -> bool:
    """Whether a send has borne a drop alone. A part of a shared drop can be far below the real cost of a send."""
    unshared = select(Send.id).where(Send.account_id == account_id, Send.cost > 0, ~Send.shared)
    return session.execute(unshared.limit(1)).first() is not None


def limit_allows_job(session: Transaction, job_id: str) -> bool:
    """Whether the batch's limit allows another send of this job.

    Call this first in the transaction that adds the send, so that the batch is locked before the job.
    """
    found = session.connection().execute(_SELECT_LIMIT, {"job_id": job_id}).one_or_none()
    # Most batches have no limit; their jobs must not wait for a lock on the batch.
    if found is None or found.limit_credits is None:
        return True
    return limit_allows(session, found.batch_id, found.account_id, generates=not found.file)


def limit_allows(session: Transaction, batch_id: str, account_id: str, *, generates: bool = False) -> bool:
    """Whether the batch's limit allows another send; call this first in the transaction that adds it."""
    # The batch stays locked until the commit, or two workers could both see room for one more.
    query = select(Batch.limit_credits).where(Batch.id == batch_id).with_for_update(key_share=True)
    limit = session.execute(query).scalar_one()
    if limit is None:
        return True
    return spent(session, batch_id) + reserve_needed(session, batch_id, account_id, generates=generates) <= limit


class Costs(NamedTuple):
    """What a batch has cost so far, and whether any of its sends share a cost."""

    credits: int
    shared: bool


def costs_of(session: Transaction, batch_id: str) -> Costs:
    """What the batch has cost so far, and whether any of its costs is one send's part of a shared drop."""
    credits_spent = spent(session, batch_id)
    return Costs(credits_spent, session.execute(_ANY_SHARED_COST, {"batch_id": batch_id}).first() is not None)
