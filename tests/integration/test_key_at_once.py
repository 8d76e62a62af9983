"""The key of a local database is made once, however many processes and threads need it first."""

import os
from pathlib import Path

from pydantic import SecretStr

from reelq.settings import Settings
from reelq.store.secrets import KEY_FILE, open_vault
from tests.integration.forked import Forked

TOKEN = SecretStr("nmv_usr_planted-secret")


def test_processes_that_make_the_key_at_once_agree_on_it(tmp_path: Path) -> None:
    for number in range(10):
        settings = Settings(reelq_data_dir=tmp_path / str(number), reelq_secret_key=None)
        waiting, gate = os.pipe()

        def lock(settings: Settings = settings, waiting: int = waiting) -> str:
            os.read(waiting, 1)
            return open_vault(settings, local=True).lock(TOKEN).hex()

        started = [Forked(lock) for _ in range(4)]
        os.write(gate, b"    ")
        locked = [process.end()[0] for process in started]
        os.close(waiting)
        os.close(gate)
        kept = open_vault(settings, local=True)
        assert [kept.unlock(bytes.fromhex(each)) for each in locked] == [TOKEN] * 4
        assert [file.name for file in settings.reelq_data_dir.iterdir()] == [KEY_FILE]
