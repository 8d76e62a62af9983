"""Fixtures that all tests share: sandboxes, a caller of them, and a real clip."""

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
from hypothesis import HealthCheck, settings

from tests.sandbox_process import Caller, SandboxProcess, Start
from tests.servers import missing, test_run

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Whoever starts the tests in a shell's background has them ignore Ctrl-C, and with them all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_as_by_ctrl_c(*_: object) -> None:
    """Told to end, as by `timeout`, a run stops its servers first; told so again, it is at that already."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


signal.signal(signal.SIGTERM, _end_as_by_ctrl_c)

# How quickly this machine draws examples is no property of ours. The quick profile draws the same ones in every run, so
# that no test is red by chance; the other one looks for new ones, and for longer.
settings.register_profile(
    "quick", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=25, derandomize=True
)
settings.register_profile("prove", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=250)
settings.load_profile("prove" if os.environ.get("REELQ_PROVE") else "quick")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the process that was called, not one of those that it starts
        running = ExitStack()
        running.enter_context(test_run())
        config.add_cleanup(running.close)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line about what this run left out, and how to have it run."""
    left_out = ["the proofs at full size (make prove)", "limits in seconds (make limits)"]
    if packages := missing():
        left_out.append(f"what needs {', '.join(packages)} (on Debian: apt install {' '.join(packages)})")
    terminalreporter.write_line(f"Left out: {', '.join(left_out)}.")


_STEADY = {"silent_edit": 0, "temporary_issue": 0}
"""What is left to chance in the service would be left to chance in the tests: those that mean it set it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits longest goes first: several files run at a time, and none should run on when the others are done."""
    if twice := [name for name, count in Counter(item.nodeid for item in items).items() if count > 1]:
        raise pytest.UsageError(f"several tests share a name, of which xdist would run one: {', '.join(twice)}")
    items.sort(key=lambda item: item.path.parent.name != "queue")


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[list[SandboxProcess]]:
    """The one process behind `sandbox`, in a list, since a test may kill it and get a new one."""
    running = [SandboxProcess.start(no_latency=True, faults=_STEADY)]
    yield running
    running[0].stop()


@pytest.fixture
def sandbox(shared_sandbox: list[SandboxProcess]) -> Iterator[SandboxProcess]:
    """A sandbox that answers at once and knows nothing of earlier tests."""
    if not shared_sandbox[0].alive:
        shared_sandbox[0].stop()
        shared_sandbox[0] = SandboxProcess.start(no_latency=True, faults=_STEADY)
    shared_sandbox[0].reset()
    yield shared_sandbox[0]
    shared_sandbox[0].callers.close()


@pytest.fixture
def start_sandbox() -> Iterator[Start]:
    """Starts sandboxes with options of the test's own, and stops them after it."""
    started: list[SandboxProcess] = []

    def start(*, faults: dict[str, object] | None = None, **options: Any) -> SandboxProcess:
        started.append(SandboxProcess.start(faults={**_STEADY, **(faults or {})}, **options))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def caller(sandbox: SandboxProcess) -> Caller:
    """A caller with a free token."""
    return sandbox.guest()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a test picture with a tone: a real MP4, 320x240."""
    path = tmp_path_factory.mktemp("clips") / "beach.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=2"]
    tone = ["-f", "lavfi", "-i", "sine=frequency=440:duration=2"]
    coding = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", *picture, *tone, *coding, str(path)]
    subprocess.run(command, check=True, timeout=60)
    return path
