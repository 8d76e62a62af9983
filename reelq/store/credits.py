"""Credits: readings of the balance are facts, one after another; what a send costs is derived from two of them.

What an account lost between two readings is shared at once among the sends that may have cost it, to the credit.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Final

from sqlalchemy import Boolean, bindparam, func, or_, select, update

from reelq.remote.receipts import Balance
from reelq.store.claims import Turns, claim, give_back, pauses
from reelq.store.models import Account, Batch, CreditReading, Job, Outcome, Send
from reelq.store.session import Store, Transaction
from reelq.store.statements import add

READING_SECONDS: Final = 30.0
"""How long a claim to read lasts; a reader that takes longer, and is overtaken, reads again."""
FRESH_SECONDS: Final = 1.0
"""How old the reading before a send may be: with many at once, one for each would be a tenth of all that is done."""
USUAL_COST: Final = 50
GENERATION_COST: Final = 100
"""What is reserved for a send, and for one that generates a clip, before the account has shown what they cost."""
_AFTER: Final = "after"
"""The moment of a reading for sends that have come to an end."""
REFUSED: Final = "refused"
"""The moment of a reading right after a send was refused for want of credits."""

_BEARS_MORE: Final = (
    update(Send)
    .where(Send.id.in_(bindparam("those", expanding=True)))
    .values(cost=Send.cost + bindparam("part"), shared=or_(Send.shared, bindparam("with_others", type_=Boolean)))
)

_ENDED: Final = (
    select(Send.account_id, Send.id)
    .join(Account, Account.id == Send.account_id)
    .where(Send.bears_costs)
    .where(
        or_(
            Send.ended_well,
            Send.outcome.not_in((Outcome.OPEN, Outcome.UNCONFIRMED)),
            # What became of its stream is not known: behind it the work may go on, and cost something at its end.
            Send.sent_at < bindparam("outlived", type_=Send.sent_at.type),
        )
    )
    .where(Account.service_url == bindparam("service"), Account.token.is_not(None))
)
_BORNE: Final = select(Send.id).where(Send.job_id == bindparam("job_id"), Send.bears_costs)
_THOSE: Final = select(Send.id).where(Send.id.in_(bindparam("those", expanding=True))).order_by(Send.id)
# Held in the order in which a reading holds all that bear costs.
_NO_MORE: Final = update(Send).where(Send.id.in_(_THOSE.with_for_update())).values(bears_costs=False)

_BOUNDS: Final = (
    select(Job.batch_id, Job.account_id, Job.file, Batch.limit_credits)
    .join(Batch, Batch.id == Job.batch_id)
    .where(Job.id == bindparam("job_id"))
)

_turns: Final[dict[tuple[str, str], Turns["Reading"]]] = {}
"""By database and account."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The balance at one moment, and what it says of the time since the reading before it."""

    at: datetime
    available: int
    frozen: int
    top_up: int
    unattributed: int


class _Overtaken(Exception):
    """Our claim to read had lapsed, and another has read meanwhile: what we read is out of order."""


def share(drop: int, bearers: int) -> list[int]:
    """Equal parts of a drop, adding up to it: each gets its share rounded down, and the first ones what is left."""
    each, left = divmod(drop, bearers)
    return [each + 1] * left + [each] * (bearers - left)


def take_reading(
    store: Store, account_id: str, moment: str, read: Callable[[], Balance], fresh: float = 0.0
) -> Reading:
    """Read the balance and record it. One account's readings never overlap: they could not be put in order.

    All who ask before a reading begins are served by it, and so is who is content with one that began less than so
    many seconds ago: sixty-four sends that begin together cost one or two requests.
    """
    turns = _turns.setdefault((str(store.url), account_id), Turns())
    return turns.take(lambda: _read(store, account_id, moment, read), fresh)


def _read(store: Store, account_id: str, moment: str, read: Callable[[], Balance]) -> Reading:
    while True:
        mine = _claim(store, account_id)
        try:
            balance = read()
        except BaseException:
            with store.write() as session:
                give_back(session, account_id, Account.reading_until, mine)
            raise
        try:
            with store.write() as session:
                return _record(session, account_id, moment, balance, store.now(session), mine)
        except _Overtaken:
            continue


def _claim(store: Store, account_id: str) -> datetime:
    pause = pauses()
    while True:
        with store.write() as session:
            mine = claim(session, account_id, Account.reading_until, store.now(session), READING_SECONDS)
        if mine:
            return mine
        time.sleep(next(pause))


def _record(
    session: Transaction, account_id: str, moment: str, balance: Balance, now: datetime, mine: datetime
) -> Reading:
    """Sends first and the account last, as everywhere: PostgreSQL locks rows in the order in which they change."""
    drop = _drop(session, account_id, balance)
    bearers = _bearers(session, account_id) if drop > 0 else ()
    _charge(session, bearers, drop)
    reading = Reading(
        now, balance.available, balance.frozen, top_up=max(-drop, 0), unattributed=0 if bearers else max(drop, 0)
    )
    values = {"available": reading.available, "frozen": reading.frozen, "total": balance.total}
    derived = {"top_up": reading.top_up, "unattributed": reading.unattributed}
    add(session, CreditReading, {"account_id": account_id, "at": now, "moment": moment, **values, **derived})
    if not give_back(session, account_id, Account.reading_until, mine):
        raise _Overtaken
    return reading


def _drop(session: Transaction, account_id: str, balance: Balance) -> int:
    """What the account lost since the reading before; less than nothing where it gained."""
    query = select(CreditReading.available + CreditReading.frozen).where(CreditReading.account_id == account_id)
    before = session.execute(query.order_by(CreditReading.id.desc()).limit(1)).scalar_one_or_none()
    return 0 if before is None else before - (balance.available + balance.frozen)


def _bearers(session: Transaction, account_id: str) -> Sequence[int]:
    # Held in one order: the statement that changes them all goes by another.
    query = select(Send.id).where(Send.account_id == account_id, Send.bears_costs).order_by(Send.id).with_for_update()
    return session.scalars(query).all()


def _charge(session: Transaction, bearers: Sequence[int], drop: int) -> None:
    """In a statement for each of the few different parts: hundreds may be open."""
    shares = zip(share(drop, len(bearers)) if bearers else (), bearers, strict=True)
    for part, those in groupby(shares, key=itemgetter(0)):
        told = {"those": [send_id for _, send_id in those], "part": part, "with_others": len(bearers) > 1}
        session.connection().execute(_BEARS_MORE, told)


def ended(session: Transaction, service: str, outlived: datetime) -> dict[str, list[int]]:
    """By account, the sends that have come to an end and still bear costs: a reading is due that begins from now on.

    One that nobody saw end has come to it if it went out before the time that no instruction outlives. Of accounts with
    this service that have a token: nobody asks for one to learn what things cost.
    """
    found: dict[str, list[int]] = defaultdict(list)
    for account_id, send_id in session.connection().execute(_ENDED, {"service": service, "outlived": outlived}):
        found[account_id].append(send_id)
    return found


def borne(session: Transaction, job_id: str) -> Sequence[int]:
    """A job's sends that still bear costs."""
    return session.connection().execute(_BORNE, {"job_id": job_id}).scalars().all()


def find_out(store: Store, account_id: str, send_ids: Sequence[int], read: Callable[[], Balance]) -> None:
    """What these sends cost, which have come to an end: a reading that begins now, and no later drop is theirs."""
    take_reading(store, account_id, _AFTER, read)
    with store.write() as session:
        stop_bearing(session, send_ids)


def stop_bearing(session: Transaction, send_ids: Sequence[int]) -> None:
    """No drop after this is theirs. Due once a reading has been taken that began after their end."""
    session.connection().execute(_NO_MORE, {"those": send_ids})


def stop_waiting(session: Transaction, before: datetime) -> None:
    """Nor is it that of sends that were settled before then: no reading could be taken for so long."""
    late = update(Send).where(Send.bears_costs, Send.settled_at < before).values(bears_costs=False)
    session.execute(late.execution_options(synchronize_session=False))


def spent(session: Transaction, *, batch_id: str | None = None, account_id: str | None = None) -> int:
    """What the sends cost so far: those of a batch, of an account, or of one within the other."""
    query = select(func.coalesce(func.sum(Send.cost), 0))
    if batch_id is not None:
        query = query.where(Send.batch_id == batch_id)
    if account_id is not None:
        query = query.where(Send.account_id == account_id)
    return int(session.execute(query).scalar_one())


def highest_cost(session: Transaction, account_id: str) -> int:
    """The most that one send of the account has cost yet; 0 where none has cost anything."""
    query = select(func.coalesce(func.max(Send.cost), 0)).where(Send.account_id == account_id)
    return int(session.execute(query).scalar_one())


def refused_at(session: Transaction, account_id: str) -> int:
    """What was available when a send was refused last; 0 where none was."""
    query = select(CreditReading.available).where(
        CreditReading.account_id == account_id, CreditReading.moment == REFUSED
    )
    return session.execute(query.order_by(CreditReading.id.desc()).limit(1)).scalar_one_or_none() or 0


def reserve_needed(session: Transaction, batch_id: str, account_id: str, *, generates: bool = False) -> int:
    """What has to be left of the batch's limit for the sends that it has open, and for one more."""
    most, known = highest_cost(session, account_id), _knows_a_cost(session, account_id)
    query = select(Send.cost).where(Send.batch_id == batch_id, Send.bears_costs)
    # What the open ones ask for is not known here: until one has shown its cost, each may be a generation.
    each = most if known else max(most, GENERATION_COST)
    one_more = most if known else max(most, GENERATION_COST if generates else USUAL_COST)
    return sum(max(each - cost, 0) for cost in session.scalars(query)) + one_more


def _knows_a_cost(session: Transaction, account_id: str) -> bool:
    """Whether a send has borne a cost alone. A part of a drop that several share can be far below what each costs."""
    alone = select(Send.id).where(Send.account_id == account_id, Send.cost > 0, ~Send.shared)
    return session.execute(alone.limit(1)).first() is not None


def room_for(session: Transaction, job_id: str) -> bool:
    """Whether its batch's limit allows another send of this job; to be asked first in the transaction that makes it."""
    found = session.connection().execute(_BOUNDS, {"job_id": job_id}).one_or_none()
    # Most have no limit, and are not to wait for each other.
    if found is None or found.limit_credits is None:
        return True
    return may_send(session, found.batch_id, found.account_id, generates=not found.file)


def may_send(session: Transaction, batch_id: str, account_id: str, *, generates: bool = False) -> bool:
    """Whether the batch's limit allows another send; to be asked first in the transaction that writes it down."""
    # The row is locked until then, or two workers would both be told that there is room for one.
    query = select(Batch.limit_credits).where(Batch.id == batch_id).with_for_update(key_share=True)
    limit = session.execute(query).scalar_one()
    if limit is None:
        return True
    return (
        spent(session, batch_id=batch_id) + reserve_needed(session, batch_id, account_id, generates=generates) <= limit
    )
