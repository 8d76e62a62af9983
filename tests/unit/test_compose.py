"""What the container files promise, read from them: no root, no open door, no secret, nothing that is not there."""

import inspect
import re
import tomllib
from itertools import pairwise
from typing import Final

import pytest
import yaml
from pathspec import PathSpec
from pathspec.patterns.gitignore.basic import GitIgnoreBasicPattern

from reelq.settings import DESCRIPTIONS
from reelq.store.db.engine import Store
from tests.compose import COMPOSE, ROOT, Refused, compose, copied, dockerfile, example, seconds, variables

SECRETS: Final = {"POSTGRES_PASSWORD": "p" * 48, "REELQ_SECRET_KEY": "k" * 64, "FLOWER_BASIC_AUTH": "me:hush"}
_OF_COMPOSE: Final = {"COMPOSE_PROFILES", "PUBLISH_API", "PUBLISH_FLOWER", "PYTHON_IMAGE", "REDIS_IMAGE", "WORKERS"}
_OF_OTHERS: Final = re.compile(r"(FLOWER|POSTGRES)_[A-Z_]+|PG[A-Z]+|(HTTPS?|NO)_PROXY")
_BESIDE_SETTINGS: Final = {"PGPASSWORD", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"}
_FOR_CALLERS: Final = {"REELQ_API_URL", "REELQ_API_KEY"}
_FOR_WORKERS: Final = {"REELQ_METRICS_ADDRESS", "REELQ_STOP_GRACE"}


FILE: Final = compose(SECRETS)
SERVICES: Final = FILE["services"]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_what_the_services_name_is_there() -> None:
    for name, service in SERVICES.items():
        for other, wanted in service.get("depends_on", {}).items():
            assert other in SERVICES, name
            assert wanted["condition"] != "service_healthy" or "healthcheck" in SERVICES[other], (name, other)
            assert "profiles" not in SERVICES[other], f"{name} would not start without {other}"
        assert set(service["networks"]) <= FILE["networks"].keys(), name
        assert {volume.partition(":")[0] for volume in service.get("volumes", [])} <= FILE["volumes"].keys(), name


@pytest.mark.parametrize("secret", SECRETS)
def test_without_a_secret_nothing_starts_and_the_user_is_told_what_to_do(secret: str) -> None:
    others = {name: value for name, value in SECRETS.items() if name != secret}
    for told in (others, others | {secret: ""}):
        with pytest.raises(Refused, match=f"{secret}: .*openssl|{secret}: .*.env.example"):
            compose(told)


def test_no_secret_stands_in_the_file() -> None:
    raw = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    for name, service in raw["services"].items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|AUTH|KEY", variable):
                assert re.fullmatch(r"\$\{[A-Z_]+:(\?.+|-)\}", str(value)), (name, variable)
    assert {name for name, default in variables().items() if default is None} == SECRETS.keys()


def test_every_variable_means_something_and_the_example_shows_each() -> None:
    for service in SERVICES.values():
        for name in service.get("environment", {}):
            assert name in DESCRIPTIONS or _OF_OTHERS.fullmatch(name), name
    to_fill, shown = example()
    assert to_fill == dict.fromkeys(SECRETS, "")
    assert shown.keys() == (variables().keys() - SECRETS.keys()) | {"COMPOSE_PROFILES"}
    assert all(name in DESCRIPTIONS or _OF_OTHERS.fullmatch(name) or name in _OF_COMPOSE for name in to_fill | shown)
    for name, value in shown.items():
        assert value in {"", variables().get(name) or value}, f"{name} is shown with another default"


def test_every_setting_reaches_the_api_and_the_workers() -> None:
    assert SERVICES["worker"]["environment"].keys() - _BESIDE_SETTINGS == DESCRIPTIONS.keys() - _FOR_CALLERS
    there = SERVICES["api"]["environment"].keys() - _BESIDE_SETTINGS
    assert there == DESCRIPTIONS.keys() - _FOR_CALLERS - _FOR_WORKERS


def test_flower_and_the_sandbox_know_no_secret_but_their_own() -> None:
    assert SERVICES["flower"]["environment"].keys() & (DESCRIPTIONS.keys() | {"PGPASSWORD"}) == {
        "REELQ_BROKER_URL", "REELQ_DATA_DIR", "REELQ_LOG_FORMAT",
    }  # fmt: skip
    assert "environment" not in SERVICES["sandbox"]


def test_nobody_is_root_or_can_become_it_or_writes_where_others_look() -> None:
    (user,) = (rest for word, rest in dockerfile() if word == "USER")
    for name, service in SERVICES.items():
        ours = "build" in service
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user if ours else service["user"]), name
        assert not (ours and "user" in service), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name
        wide = {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices", "container_name"}
        assert not wide & service.keys(), name


def test_only_this_machine_reaches_the_api_and_flower_and_nobody_the_rest() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:8000:8000"], "flower": ["127.0.0.1:5555:5555"]}
    assert FILE["networks"]["inside"] == {"internal": True}
    assert {name for name, service in SERVICES.items() if service["networks"] == ["inside"]} == {
        "redis", "postgres", "migrate",
    }  # fmt: skip
    assert SERVICES["sandbox"]["networks"] == ["outside"]


def test_addresses_and_the_number_of_workers_are_as_they_are_wished() -> None:
    wished = compose(SECRETS | {"PUBLISH_API": "0.0.0.0:80", "WORKERS": "4"})["services"]
    assert wished["api"]["ports"] == ["0.0.0.0:80:8000"]
    assert (SERVICES["worker"]["deploy"]["replicas"], wished["worker"]["deploy"]["replicas"]) == ("1", "4")


def test_images_are_pinned_and_ours_have_the_version_of_the_project() -> None:
    version = PROJECT["project"]["version"]
    for name, service in SERVICES.items():
        image, _, tag = service["image"].partition(":")
        if "build" in service:
            assert (tag, service["pull_policy"]) == (version, "build"), f"{name}: {image} could be somebody else's"
            assert service["build"]["args"] == {"PYTHON_IMAGE": variables()["PYTHON_IMAGE"]}
        else:
            assert re.match(r"\d+\.\d+(\.\d+)?-alpine3\.\d+$", tag), name
    (base,) = (rest for word, rest in dockerfile() if word == "ARG")
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.\d+\.\d+-slim-[a-z]+", base)
    assert base == f"PYTHON_IMAGE={variables()['PYTHON_IMAGE']}"
    begun = [rest.split()[0] for word, rest in dockerfile() if word == "FROM"]
    assert set(begun) == {"${PYTHON_IMAGE}", "ground"}
    stages = [rest.split()[-1] for word, rest in dockerfile() if word == "FROM"]
    assert {service["build"]["target"] for service in SERVICES.values() if "build" in service} <= set(stages)
    assert stages[-1] == "service"


def test_packages_come_from_the_locks_by_their_hashes_alone() -> None:
    runs = [part for word, rest in dockerfile() if word == "RUN" for part in rest.split("&&")]
    installs = [part for part in runs if " install " in part]
    assert len(installs) == 4
    for part in installs:
        locked = re.search(r"--no-deps --require-hashes --only-binary=:all: -r locks/(run|service)\.txt", part)
        assert locked or "--no-deps --no-index --find-links /wheels reelq" in part, part


def test_what_the_images_copy_exists_and_is_all_that_a_build_sees() -> None:
    # Of several patterns that match the last one counts: with Docker too, which knows no more of git's rules.
    spec = PathSpec.from_lines(GitIgnoreBasicPattern, (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines())
    for source, _ in copied():
        there = ROOT / source
        files = [path for path in there.rglob("*.py") if path.is_file()] if there.is_dir() else [there]
        assert files, source
        for path in files:
            assert path.is_file(), source
            assert not spec.match_file(path.relative_to(ROOT)), f"{path} is kept out of the build"
    for kept_out in (
        ".env", ".env.example", ".git/config", ".venv/pyvenv.cfg", ".demo/secret.key", "reelq-out/jobs/1-beach.mp4",
        "reelq/__pycache__/job.cpython-311.pyc", "reelq.db", "docs/containers.md", "tests/compose.py", "locks/dev.txt",
    ):  # fmt: skip
        assert spec.match_file(kept_out), f"{kept_out} would be sent to whoever builds"


def test_the_wheel_gets_all_that_it_is_made_of() -> None:
    wanted = {*PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"], "pyproject.toml"}
    wanted |= {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    assert wanted <= {source for source, _ in copied()}


def test_who_is_told_to_stop_is_given_longer_than_it_takes_for_itself() -> None:
    worker, api = SERVICES["worker"], SERVICES["api"]
    assert seconds(worker["stop_grace_period"]) >= int(worker["environment"]["REELQ_STOP_GRACE"]) + 10
    options = dict(pairwise(api["command"]))
    assert seconds(api["stop_grace_period"]) >= int(options["--timeout-graceful-shutdown"]) + 10


def test_the_data_folder_is_the_users_own_and_the_api_and_the_workers_share_it() -> None:
    environments = [rest for word, rest in dockerfile() if word == "ENV" and "REELQ_DATA_DIR" in rest]
    (folder,) = re.findall(r"REELQ_DATA_DIR=(\S+)", " ".join(environments))
    assert any(f"--home-dir {folder} --create-home" in rest for word, rest in dockerfile() if word == "RUN")
    for name in ("api", "worker"):
        assert SERVICES[name]["environment"]["REELQ_DATA_DIR"] == folder
        assert SERVICES[name]["volumes"] == [f"data:{folder}"]


def test_the_database_has_a_connection_for_everybody() -> None:
    most = int(SERVICES["postgres"]["command"][-1].removeprefix("max_connections="))
    a_process = 2 * inspect.signature(Store).parameters["pool"].default
    assert a_process == 40, "a comment in docker-compose.yml says so"
    assert most >= (1 + 8) * a_process
