"""asyncio and httpx, all rows at once, nothing kept: the practical limit for one process."""

import asyncio
import sys
from pathlib import Path

from tests.benchmarks.peers.steps import AT_ONCE, AsyncSteps, Job, jobs


async def take_through(steps: AsyncSteps, job: Job, room: asyncio.Semaphore) -> None:
    """One row, from its upload to its file."""
    async with room:
        uploaded = await steps.upload(job)
        edited = await steps.verify(await steps.edit(uploaded))
        rendered = await steps.poll(await steps.render(edited))
        await steps.download(rendered)


async def main() -> int:
    """Argument: the manifest. The number of rows that failed; one that does leaves the others alone."""
    wanted = jobs(Path(sys.argv[1]))
    room = asyncio.Semaphore(AT_ONCE or max(1, len(wanted)))
    steps = AsyncSteps()
    ends = await asyncio.gather(*(take_through(steps, job, room) for job in wanted), return_exceptions=True)
    await steps.close()
    failures = [end for end in ends if isinstance(end, BaseException)]
    for failure in failures:
        print(f"{type(failure).__name__}: {failure}", file=sys.stderr)
    return len(failures)


if __name__ == "__main__":
    sys.exit(min(1, asyncio.run(main())))
