"""Procrastinate on PostgreSQL: each task defers the next one, a look that comes too early defers itself for later.

The worker is `procrastinate --app=tests.benchmarks.peers.procrastinate_tasks.app worker`; this module as a script
hands the rows in. What a worker that was killed had in hand is put back by a periodic task, as its guide advises.
"""
# The library is in the environment of the bench alone.
# mypy: disable-error-code="import-not-found,untyped-decorator"

import asyncio
import os
from functools import cache

from procrastinate import App, JobContext, PsycopgConnector

from tests.benchmarks.peers.steps import LOOK_EVERY, MOST_LOOKS, AsyncSteps, Job, StepFailed, jobs

app = App(connector=PsycopgConnector(conninfo=os.environ.get("BENCH_DATABASE_URL", "")))


@cache
def steps() -> AsyncSteps:
    """The one client of the process, made within its loop."""
    return AsyncSteps()


@app.task(retry=3)
async def upload(job: Job) -> None:
    await edit.defer_async(job=await steps().upload(job))


@app.task
async def edit(job: Job) -> None:
    """Without retries: it would be paid for twice."""
    await verify.defer_async(job=await steps().edit(job))


@app.task(retry=3)
async def verify(job: Job) -> None:
    await render.defer_async(job=await steps().verify(job))


@app.task(retry=3)
async def render(job: Job) -> None:
    await _look_later(await steps().render(job), 1)


@app.task(retry=3)
async def poll(job: Job, look: int) -> None:
    found = await steps().look(job)
    if found:
        await download.defer_async(job=found)
    elif look < MOST_LOOKS:
        await _look_later(job, look + 1)
    else:
        raise StepFailed(f"poll: {job['render']} is not done after {look} looks")


async def _look_later(job: Job, look: int) -> None:
    await poll.configure(schedule_in={"milliseconds": round(LOOK_EVERY * 1000)}).defer_async(job=job, look=look)


@app.task(retry=3)
async def download(job: Job) -> None:
    await steps().download(job)


@app.periodic(cron="* * * * *")
@app.task(queueing_lock="retry_stalled_jobs", pass_context=True)
async def retry_stalled_jobs(_context: JobContext, timestamp: int) -> None:
    for job in await app.job_manager.get_stalled_jobs():
        await app.job_manager.retry_job(job)


async def main() -> None:
    async with app.open_async():
        for job in jobs():
            await upload.defer_async(job=job)


if __name__ == "__main__":
    # Tasks are named by their module, which as a script has another name than for the worker.

    asyncio.run(main())
