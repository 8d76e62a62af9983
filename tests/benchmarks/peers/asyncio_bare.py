"""asyncio and httpx, all rows at once, nothing kept: the practical limit for one process."""

import asyncio
import sys

from tests.benchmarks.peers.steps import AsyncSteps, Job, side_by_side

steps = AsyncSteps()


async def row(job: Job) -> None:
    """One row, from its upload to its file."""
    uploaded = await steps.upload(job)
    edited = await steps.verify(await steps.edit(uploaded))
    rendered = await steps.poll(await steps.render(edited))
    await steps.download(rendered)


if __name__ == "__main__":
    sys.exit(asyncio.run(side_by_side(row)))
