"""The environment: each variable, where its value comes from, and those that nobody reads."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from reelq.cli.doctor.finding import Finding, Patient, ok, warning, wrong
from reelq.cli.wording import NOT_SHOWN, masked
from reelq.remote.identity import CLIENT_ID_FILE
from reelq.settings import MEANINGS, Settings
from reelq.store.secrets import KEY_FILE

ABOUT: Final = "environment"
_CLIENT_ID: Final = "NEMO_CLIENT_ID"
"""Whoever has it can ask for the account's next token."""
_OURS: Final = ("REELQ_", "NEMO_")
_OF_THE_TESTS: Final = ("REELQ_TEST_", "REELQ_PROVE")


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable as this process would use it."""

    name: str
    value: str
    source: str
    meaning: str
    is_set: bool


def variables(patient: Patient) -> list[Variable]:
    """All that reelq reads."""
    given = _given(patient.environment)
    return [_variable(patient, name, meaning, given.get(name, "")) for name, meaning in MEANINGS.items()]


def check_variables(patient: Patient) -> Iterator[Finding]:
    """Those that can't be understood, and those that look like ours and are not."""
    given = _given(patient.environment)
    for name, takes in patient.wrong.items():
        shown = _shown(name, SecretStr(given[name]) if _is_secret(patient.settings, name) else given[name])
        yield wrong(ABOUT, f"{name} can't be understood: {shown}", f"It takes {takes}; correct or unset it.")
    strangers = [name for name in given if name.startswith(_OURS) and not name.startswith(_OF_THE_TESTS)]
    for name in sorted(set(strangers) - MEANINGS.keys()):
        meant = difflib.get_close_matches(name, MEANINGS, n=1, cutoff=0.7)
        hint = f"Did you mean {meant[0]}?" if meant else "Unset it, or see `reelq doctor --all` for those there are."
        yield warning(ABOUT, f"{name} is set, but nothing reads it", hint)
    if not patient.wrong:
        yield ok(ABOUT, f"{sum(name in given for name in MEANINGS)} of {len(MEANINGS)} variables are set")


def _given(environment: Mapping[str, str]) -> dict[str, str]:
    """Names in capitals, as they are read; one that is empty counts as unset."""
    return {name.upper(): value for name, value in environment.items() if value}


def _variable(patient: Patient, name: str, meaning: str, given: str) -> Variable:
    value = getattr(patient.settings, name.lower())
    if name in patient.wrong:
        return Variable(name, "(can't be understood)", "environment", meaning, is_set=True)
    if given:
        return Variable(name, _shown(name, value), "environment", meaning, is_set=True)
    shown, source = _by_default(patient.settings, name, value)
    return Variable(name, shown, source, meaning, is_set=False)


def _by_default(settings: Settings, name: str, value: object) -> tuple[str, str]:
    kept = {"REELQ_SECRET_KEY": settings.reelq_data_dir / KEY_FILE, _CLIENT_ID: Path.home() / CLIENT_ID_FILE}
    if name in kept:
        return (NOT_SHOWN, f"kept in {kept[name]}") if kept[name].exists() else ("-", "made when it is needed")
    if name == "REELQ_DATABASE_URL":
        return "-", "default: SQLite in the data folder"
    return "-" if value in {None, ""} else _shown(name, value), "default"


def _shown(name: str, value: object) -> str:
    if isinstance(value, SecretStr) or name == _CLIENT_ID:
        return masked(value.get_secret_value()) if isinstance(value, SecretStr) and name.endswith("_URL") else NOT_SHOWN
    if name.endswith("_URL"):
        return masked(str(value))
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_secret(settings: Settings, name: str) -> bool:
    return name == _CLIENT_ID or "SecretStr" in str(type(settings).model_fields[name.lower()].annotation)
