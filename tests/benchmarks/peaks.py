"""The most memory that a process has had, by Linux's own note of it.

Not `ru_maxrss`: a process inherits that one from whoever started it, be it ten times as large.
"""

from pathlib import Path


def peak_mb(process: int | str = "self") -> float:
    """The peak of this process, or of another that still runs, in MB."""
    status = Path(f"/proc/{process}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024
