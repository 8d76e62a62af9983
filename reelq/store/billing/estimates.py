"""Estimates what a manifest will cost."""

from collections.abc import Iterable
from dataclasses import dataclass

from reelq.job import Route
from reelq.manifest.rows import Row
from reelq.store.billing.ledger import GENERATION_COST, USUAL_COST


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
