"""Google's own server of the remote agent's stream, as a process, with the scripted agent beside this file."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, Self

import httpx

from tests.servers import free_port

_AGENTS: Final = Path(__file__).parent / "adk"
_START_SECONDS: Final = 60


class AdkProcess:
    """`adk api_server` on a free port; sessions are kept in memory."""

    def __enter__(self) -> Self:
        # The server keeps files beside its agents, so it gets a copy of them.
        self._folder = tempfile.TemporaryDirectory()
        agents = shutil.copytree(
            _AGENTS, Path(self._folder.name, "agents"), ignore=shutil.ignore_patterns("__pycache__")
        )
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = Path(self._folder.name, "log").open("w+")
        command = [str(Path(sys.executable).with_name("adk")), "api_server", "--port", str(port), "--no-reload"]
        kept = ["--session_service_uri", "memory://", "--artifact_service_uri", "memory://"]
        environment = {**os.environ, "OTEL_SDK_DISABLED": "true"}
        self.process = subprocess.Popen(
            [*command, *kept, str(agents)], stdout=self._log, stderr=self._log, env=environment
        )
        self._http = httpx.Client(base_url=self.url, trust_env=False, timeout=20)
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._http.close()
        self._log.close()
        self._folder.cleanup()

    def open_session(self) -> str:
        """A session with the scripted agent."""
        answer = self._http.post("/apps/nemo_agent/users/me/sessions", json={}).raise_for_status()
        return str(answer.json()["id"])

    def kill(self) -> None:
        """As a crash."""
        self.process.kill()
        self.process.wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self._http.get("/list-apps").raise_for_status()
            except httpx.HTTPError:
                time.sleep(0.05)
            else:
                return
        self._log.seek(0)
        raise RuntimeError(f"the server did not start: {self._log.read()[-2000:]}")
