"""Prefect 3 with a flow a row, against an API server of its own.

Each step is a task whose result is kept under its source and inputs, so that a flow that is run again takes what is
there. The flows of one script run side by side in one process, which is the cheaper of the two ways that Prefect
has; the other, a served deployment, starts a process of Python for each row.
"""
# The library is in the environment of the bench alone.
# mypy: disable-error-code="import-not-found,untyped-decorator"

import asyncio
import sys
from functools import cache

from prefect import flow, task
from prefect.cache_policies import INPUTS, TASK_SOURCE

from tests.benchmarks.peers.steps import AsyncSteps, Job, side_by_side


@cache
def steps() -> AsyncSteps:
    """The one client of the process, made within its loop."""
    return AsyncSteps()


@task(persist_result=True, cache_policy=TASK_SOURCE + INPUTS, retries=3)
async def upload(job: Job) -> Job:
    return await steps().upload(job)


@task(persist_result=True, cache_policy=TASK_SOURCE + INPUTS)
async def edit(job: Job) -> Job:
    """Without retries: it would be paid for twice."""
    return await steps().edit(job)


@task(persist_result=True, cache_policy=TASK_SOURCE + INPUTS, retries=3)
async def verify(job: Job) -> Job:
    return await steps().verify(job)


@task(persist_result=True, cache_policy=TASK_SOURCE + INPUTS, retries=3)
async def render(job: Job) -> Job:
    return await steps().render(job)


@task(persist_result=True, cache_policy=TASK_SOURCE + INPUTS, retries=3)
async def poll(job: Job) -> Job:
    return await steps().poll(job)


@task(retries=3)
async def download(job: Job) -> Job:
    return await steps().download(job)


@flow
async def row(job: Job) -> None:
    """One row, from its upload to its file."""
    uploaded = await upload(job)
    edited = await verify(await edit(uploaded))
    rendered = await poll(await render(edited))
    await download(rendered)


if __name__ == "__main__":
    sys.exit(asyncio.run(side_by_side(row)))
