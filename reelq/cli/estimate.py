"""Describes what submitting a manifest will do and cost, next to the balance."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from pydantic import SecretStr

from reelq import skills
from reelq.cli.views.text import format_time, plural
from reelq.manifest.checks import DEFAULT_SKILL
from reelq.manifest.columns import Row
from reelq.settings import Settings
from reelq.store.billing.spending import Estimate, estimate, estimate_rows
from reelq.store.db.readonly import open_read_only
from reelq.store.queries.account import AccountState, account_state, stored_token
from reelq.store.submission.request import Plan, RowAction

T = TypeVar("T")
_TIMEOUT_SECONDS: Final = 6.0


class TimedOut(Exception):
    """No answer in time."""


def call_in_parallel(questions: Sequence[Callable[[], T]], seconds: float) -> list[T | Exception]:
    """Call all in parallel; return each result, exception or `TimedOut`. Calls that take too long are abandoned."""
    answers: list[T | Exception] = [TimedOut() for _ in questions]

    def call(index: int) -> None:
        try:
            answers[index] = questions[index]()
        except Exception as error:  # noqa: BLE001 - any exception is returned to the caller
            answers[index] = error

    # Daemons: resolving an unknown host name can block a thread for longer than anybody would wait.
    threads = [threading.Thread(target=call, args=(index,), daemon=True) for index in range(len(questions))]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    return list(answers)


@dataclass(frozen=True, slots=True)
class Funds:
    """The balance and past costs, as far as they are known without asking for a token."""

    highest: int = 0
    """The most that one instruction has cost on this account so far."""
    available: int | None = None
    read_at: datetime | None = None
    """When the balance was read; None if just now."""


def attribution_headers(settings: Settings) -> dict[str, str]:
    """Headers for a request that does not belong to a row."""
    skill = skills.load()[DEFAULT_SKILL]
    return skills.headers(skill, skills.platform(skill.path, settings.skill_source, Path.home()))


def read_account(settings: Settings) -> tuple[AccountState | None, SecretStr | None]:
    """The account and its token, as far as they are known. Creates and writes nothing.

    Errors of the database or its key are ignored here: `doctor` reports them.
    """
    account, token = None, settings.nemo_token
    with suppress(Exception), open_read_only(settings) as store:
        if store is not None:
            account = account_state(store, settings)
            token = stored_token(store, settings)
    return account, token


def read_funds(settings: Settings) -> Funds:
    """The balance: from the service if there is a token, else from the last reading. Never raises."""
    answer = call_in_parallel([partial(_read_funds, settings)], _TIMEOUT_SECONDS)[0]
    return Funds() if isinstance(answer, Exception) else answer


def _read_funds(settings: Settings) -> Funds:
    from reelq.nemo import probe  # loads the HTTP stack: late, so that submitting does not wait for it

    account, token = read_account(settings)
    highest = account.highest if account else 0
    with suppress(Exception):
        answer = probe.look(settings, attribution_headers(settings), token) if token else None
        if answer and answer.balance:
            return Funds(highest, answer.balance.available)
    reading = account.reading if account else None
    return Funds(highest, reading.available, reading.at) if reading else Funds(highest)


_LABELS: Final = {
    RowAction.NEW: "new",
    RowAction.GOES_ON: "to be continued",
    RowAction.DONE: "done before",
    RowAction.FETCHED: "done before, to be downloaded again",
    RowAction.FAILED: "failed before",
    RowAction.RETRIED: "to be retried",
    RowAction.AGAIN: "to be rerun, as their session changed",
    RowAction.TAKEN: "done in another manifest",
    RowAction.JOINED: "in progress in another manifest",
}


def describe_plan(plan: Plan) -> Iterator[str]:
    """Describe what will happen to the rows."""
    parts = [f"{plan.count(fate):,} {label}" for fate, label in _LABELS.items() if plan.count(fate)]
    yield f"{plural(len(plan.actions), 'row')}: {', '.join(parts)}."
    if plan.count(RowAction.DONE) == len(plan.actions):
        yield "Nothing to do."
    if plan.count(RowAction.FAILED):
        yield "Use `--retry-failed` to run the failed rows again."


def describe_plan_cost(plan: Plan, rows: Sequence[Row], balance: Funds) -> Iterator[str]:
    """Describe what the plan for these rows costs, and how much of it is for rows that were paid for before."""
    yield describe_cost(estimate(plan.sends, plan.generations, highest=balance.highest), balance)
    if plan.count(RowAction.AGAIN):
        rerun = [row for row, action in zip(rows, plan.actions, strict=True) if action is RowAction.AGAIN]
        cost = estimate_rows(rerun, highest=balance.highest).credits
        part = f"{plural(cost, 'credit')} of it {'is' if cost == 1 else 'are'} for {plural(len(rerun), 'row')}"
        yield f"{part} of a changed session, which is rerun from its first row."


def describe_cost(cost: Estimate, balance: Funds, ask: str = " (run `reelq credits` to read it)") -> str:
    """Describe the cost next to the balance. `ask` says how to find out a balance that is unknown."""
    if not cost.sends:
        return "No credits: nothing is sent to the agent."
    basis = "based on the highest cost so far" if cost.seen else "based on typical cost"
    summary = f"About {plural(cost.credits, 'credit')} for {plural(cost.sends, 'instruction')}, {basis}"
    if balance.available is None:
        return f"{summary}; the balance is not known yet{ask}."
    when = f" (as of {format_time(balance.read_at)})" if balance.read_at else ""
    short = cost.credits - balance.available
    return f"{summary}; balance {balance.available:,}{when}" + (f", {short:,} short." if short > 0 else ".")
