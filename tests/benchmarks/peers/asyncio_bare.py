"""asyncio and httpx, all rows at once, nothing kept: the practical limit for one process."""

import asyncio
import sys
from pathlib import Path

from tests.benchmarks.peers.steps import AsyncSteps, Job, side_by_side


async def main() -> int:
    """Argument: the manifest. The number of rows that failed."""
    steps = AsyncSteps()

    async def row(job: Job) -> None:
        uploaded = await steps.upload(job)
        edited = await steps.verify(await steps.edit(uploaded))
        rendered = await steps.poll(await steps.render(edited))
        await steps.download(rendered)

    failed = await side_by_side(row, Path(sys.argv[1]))
    await steps.close()
    return failed


if __name__ == "__main__":
    sys.exit(min(1, asyncio.run(main())))
