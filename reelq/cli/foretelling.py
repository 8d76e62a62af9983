"""What handing a manifest in will do and cost, in words: the same before it is run as when it is only checked."""

from collections.abc import Iterator, Sequence
from typing import Final

from reelq.cli.asking import Funds
from reelq.cli.wording import many
from reelq.manifest import Row
from reelq.store.estimates import Estimate, estimate, estimate_rows
from reelq.store.orders import Fate, Plan

_WORDS: Final = {
    Fate.NEW: "new",
    Fate.GOES_ON: "to go on where they stand",
    Fate.DONE: "done before",
    Fate.FETCHED: "done before, to be brought home again",
    Fate.FAILED: "failed before",
    Fate.RETRIED: "to be tried again",
    Fate.AGAIN: "to be done again, as their session changed",
    Fate.TAKEN: "done in another manifest",
    Fate.JOINED: "under way in another manifest",
}


def told(plan: Plan) -> Iterator[str]:
    """What becomes of the rows."""
    parts = [f"{plan.count(fate):,} {words}" for fate, words in _WORDS.items() if plan.count(fate)]
    yield f"{many(len(plan.fates), 'row')}: {', '.join(parts)}."
    if plan.count(Fate.DONE) == len(plan.fates):
        yield "Nothing is left to do."
    if plan.count(Fate.FAILED):
        yield "`--retry-failed` runs again what failed before."


def cost_of(plan: Plan, rows: Sequence[Row], there: Funds) -> Iterator[str]:
    """What the plan for these rows costs; and how much of that is for rows that were paid for once already."""
    yield in_words(estimate(plan.sends, plan.generations, highest=there.highest), there)
    if plan.session_reruns:
        again = [row for row, fate in zip(rows, plan.fates, strict=True) if fate is Fate.AGAIN]
        part = estimate_rows(again, highest=there.highest).credits
        yield (
            f"{many(part, 'credit')} of it {'is' if part == 1 else 'are'} for {many(len(again), 'row')} of a session "
            "that changed: a session is done anew from its first row on."
        )


def in_words(cost: Estimate, there: Funds, ask: str = " (`reelq credits` asks for it)") -> str:
    """What it would cost, beside what there is; `ask` says how an unknown balance is asked for."""
    if not cost.sends:
        return "No credits: nothing is sent to the agent."
    basis = "at the most that one has cost yet" if cost.seen else "at what is usual"
    about = f"About {many(cost.credits, 'credit')} for {many(cost.sends, 'instruction')}, {basis}"
    if there.available is None:
        return f"{about}; the balance is not known yet{ask}."
    when = f" (as of {there.read_at.astimezone():%Y-%m-%d %H:%M})" if there.read_at else ""
    short = cost.credits - there.available
    return f"{about}; balance {there.available:,}{when}" + (f", {short:,} short." if short > 0 else ".")
