"""What a manifest would cost: its sends, each at the most that one has cost on the account yet."""

from collections.abc import Iterable
from dataclasses import dataclass

from reelq.job import Route
from reelq.manifest import Row
from reelq.store.credits import GENERATION_COST, USUAL_COST


@dataclass(frozen=True, slots=True)
class Estimate:
    """About what so many instructions cost."""

    sends: int
    credits: int
    seen: bool
    """Whether it rests on what the account has paid, not on what is usual."""


def estimate(sends: int, generations: int = 0, *, highest: int = 0) -> Estimate:
    """For so many instructions, of which so many make a clip out of nothing; `highest` as the account has shown it.

    It is what `--limit-credits` would set aside for them, so the two never tell different stories.
    """
    usual = (sends - generations) * USUAL_COST + generations * GENERATION_COST
    return Estimate(sends, sends * highest if highest else usual, seen=highest > 0)


def estimate_rows(rows: Iterable[Row], *, highest: int = 0) -> Estimate:
    """For these rows, if all of them are run; exports and questions are free."""
    sent = [row for row in rows if row.route is Route.EDIT]
    return estimate(len(sent), sum(not row.file for row in sent), highest=highest)
