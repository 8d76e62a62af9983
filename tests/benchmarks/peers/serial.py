"""One row after another: the first script that most people write."""

import sys
from pathlib import Path

from tests.benchmarks.peers.steps import Steps, jobs


def main() -> None:
    """Argument: the manifest."""
    steps = Steps()
    for job in jobs(Path(sys.argv[1])):
        uploaded = steps.upload(job)
        edited = steps.verify(steps.edit(uploaded))
        rendered = steps.poll(steps.render(edited))
        steps.download(rendered)


if __name__ == "__main__":
    main()
