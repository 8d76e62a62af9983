"""Celery as its first steps have it: one chain a row, and a poll that sleeps in its worker.

The worker is `celery -A tests.benchmarks.peers.celery_obvious worker`; this module as a script hands the rows in.
"""

import os
from functools import cache
from typing import Final

import httpx
from celery import Celery, chain

from tests.benchmarks.peers.steps import Job, Steps, jobs

# Its tasks have their module's name, also where the module is the script that hands in.
app = Celery("tests.benchmarks.peers.celery_obvious", broker=os.environ.get("BENCH_BROKER_URL"))
app.conf.task_ignore_result = True

PASSING: Final = (httpx.TransportError,)
"""After these a step is simply done again; the edit is not, as it would be paid for twice."""


@cache
def steps() -> Steps:
    """One client for each process, made where it is used: an open connection does not survive a fork."""
    return Steps()


@app.task(autoretry_for=PASSING, retry_backoff=True, max_retries=3)
def upload(job: Job) -> Job:
    return steps().upload(job)


@app.task
def edit(job: Job) -> Job:
    return steps().edit(job)


@app.task(autoretry_for=PASSING, retry_backoff=True, max_retries=3)
def verify(job: Job) -> Job:
    return steps().verify(job)


@app.task(autoretry_for=PASSING, retry_backoff=True, max_retries=3)
def render(job: Job) -> Job:
    return steps().render(job)


@app.task(autoretry_for=PASSING, retry_backoff=True, max_retries=3)
def poll(job: Job) -> Job:
    return steps().poll(job)


@app.task(autoretry_for=PASSING, retry_backoff=True, max_retries=3)
def download(job: Job) -> Job:
    return steps().download(job)


if __name__ == "__main__":
    for job in jobs():
        chain(upload.s(job), edit.s(), verify.s(), render.s(), poll.s(), download.s()).delay()
