"""docker-compose.yml against the specification, as a checker of its own reads it."""

import subprocess
import sys
from pathlib import Path

import yaml

from tests.compose import COMPOSE, compose
from tests.unit.test_compose import SECRETS


def test_it_is_what_the_compose_specification_allows(tmp_path: Path) -> None:
    filled = tmp_path / "compose.yml"
    filled.write_text(yaml.safe_dump(compose(SECRETS)))
    schema = ["--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *schema, str(COMPOSE), str(filled)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
