"""Dramatiq with a pipeline a row; a render that is not done is looked at again by a retry with a delay.

The worker is `dramatiq tests.benchmarks.peers.dramatiq_pipeline`; this module as a script hands the rows in.
"""
# The library is in the environment of the bench alone.
# mypy: disable-error-code="import-not-found,untyped-decorator"

import os
from functools import cache

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import Retry

from tests.benchmarks.peers.steps import LOOK_EVERY, MOST_LOOKS, Job, StepFailed, Steps, jobs

dramatiq.set_broker(RedisBroker(url=os.environ.get("BENCH_BROKER_URL", "redis://127.0.0.1:6379/0")))

LOOK_EVERY_MS = round(LOOK_EVERY * 1000)


@cache
def steps() -> Steps:
    """One client for each process."""
    return Steps()


@dramatiq.actor(max_retries=3, throws=StepFailed)
def upload(job: Job) -> Job:
    return steps().upload(job)


@dramatiq.actor(max_retries=0)
def edit(job: Job) -> Job:
    """Without retries: it would be paid for twice."""
    return steps().edit(job)


@dramatiq.actor(max_retries=3, throws=StepFailed)
def verify(job: Job) -> Job:
    return steps().verify(job)


@dramatiq.actor(max_retries=3, throws=StepFailed)
def render(job: Job) -> Job:
    return steps().render(job)


@dramatiq.actor(max_retries=MOST_LOOKS, throws=StepFailed)
def poll(job: Job) -> Job:
    """One look; its first comes one interval after the order, by the message's own delay."""
    found = steps().look(job)
    if found is None:
        raise Retry("not done yet", delay=LOOK_EVERY_MS)
    return found


@dramatiq.actor(max_retries=3, throws=StepFailed)
def download(job: Job) -> None:
    steps().download(job)


if __name__ == "__main__":
    for job in jobs():
        look = poll.message().copy(options={"delay": LOOK_EVERY_MS})
        stages = [upload.message(job), edit.message(), verify.message(), render.message(), look, download.message()]
        dramatiq.pipeline(stages).run()
