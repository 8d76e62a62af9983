"""What was spent, by time and by batch, and an estimate of what a manifest will cost."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select

from reelq.job import Route
from reelq.manifest.columns import Row
from reelq.store.billing.ledger import GENERATION_COST, USUAL_COST
from reelq.store.db.engine import Transaction
from reelq.store.db.models import Batch, CreditReading, Send


@dataclass(frozen=True, slots=True)
class Period:
    """What an account has spent and gained over a time."""

    spent: int
    unattributed: int
    """Lost while no send bore costs: spent outside of reelq, or expired."""
    top_ups: int


@dataclass(frozen=True, slots=True)
class BatchSpending:
    """What one batch has cost so far."""

    batch_id: str
    name: str
    created_at: datetime
    sends: int
    credits: int


def over(session: Transaction, account_id: str, since: datetime | None = None) -> Period:
    """What the account has spent and gained since then, or in all."""
    spent = select(func.coalesce(func.sum(Send.cost), 0)).where(Send.account_id == account_id)
    lost, gained = func.sum(CreditReading.unattributed), func.sum(CreditReading.top_up)
    readings = select(func.coalesce(lost, 0), func.coalesce(gained, 0)).where(CreditReading.account_id == account_id)
    if since is not None:
        spent, readings = spent.where(Send.sent_at >= since), readings.where(CreditReading.at >= since)
    unattributed, top_ups = session.execute(readings).one()
    return Period(int(session.execute(spent).scalar_one()), int(unattributed), int(top_ups))


def of_owner(session: Transaction, owner: str, since: datetime | None = None) -> int:
    """What the owner's rows have cost since then, or in all."""
    batch_ids = select(Batch.id).where(Batch.owner == owner)
    query = select(func.coalesce(func.sum(Send.cost), 0)).where(Send.batch_id.in_(batch_ids))
    if since is not None:
        query = query.where(Send.sent_at >= since)
    return int(session.execute(query).scalar_one())


def by_batch(session: Transaction, account_id: str, count: int = 10) -> list[BatchSpending]:
    """The newest batches that have sent anything through this account."""
    cost: ColumnElement[int] = func.sum(Send.cost)
    query = (
        select(Batch.id, Batch.name, Batch.created_at, func.count(Send.id), cost)
        .join(Send, Send.batch_id == Batch.id)
        .where(Send.account_id == account_id)
        .group_by(Batch.id, Batch.name, Batch.created_at)
        .order_by(Batch.created_at.desc(), Batch.id.desc())
        .limit(count)
    )
    return [BatchSpending(*row[:4], credits=int(row[4])) for row in session.execute(query)]


@dataclass(frozen=True, slots=True)
class Estimate:
    """The likely cost of a number of instructions."""

    sends: int
    credits: int
    seen: bool
    """Whether the estimate is based on what the account has paid, rather than on usual costs."""


def estimate(sends: int, generations: int = 0, *, highest: int = 0) -> Estimate:
    """Estimate the cost of `sends` instructions, `generations` of which generate a clip from nothing.

    `highest` is the most that one send of the account has cost, or 0. The estimate agrees with what `--limit-credits`
    reserves for the same sends.
    """
    usual = (sends - generations) * USUAL_COST + generations * GENERATION_COST
    return Estimate(sends, sends * highest if highest else usual, seen=highest > 0)


def estimate_rows(rows: Iterable[Row], *, highest: int = 0) -> Estimate:
    """Estimate the cost of running all of these rows. Exports and questions are free."""
    edits = [row for row in rows if row.route is Route.EDIT]
    return estimate(len(edits), sum(not row.file for row in edits), highest=highest)
