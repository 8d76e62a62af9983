"""The schema is the truth: whatever is sent by it or against it is answered as it says, and never by a fault."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from api.app import create_app
from reelq.store.db.client_models import Scope
from tests.api.serving import Served, deployed, serving
from tests.api.stock import Stock, fill
from tests.databases import KINDS

_EXAMPLES: Final = 300 if os.environ.get("REELQ_FUZZ") else 4
"""Drawn at random for each operation, on top of some 900 that cover every bound in the schema."""
_ID: Final = re.compile("[a-z]+_[0-9a-z]{22}")
_BY_CONTENT: Final = {"add_batch", "add_asset", "add_job", "refine_job", "create_webhook", "job_output"}
"""What these take depends on more than their form: a body that is right by the schema may name no skill there is, and a
result may be gone."""


@dataclass
class Fuzzed:
    """The service, what is in it, and the key of whose it is."""

    served: Served
    stock: Stock
    key: str
    metrics_key: str
    session: requests.Session


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    with (
        deployed(KINDS[-1], tmp_path_factory.mktemp("fuzz")) as service,
        serving(service) as served,
        requests.Session() as session,
    ):
        keys = served.key("ann"), served.key("prometheus", Scope.METRICS)
        yield Fuzzed(served, fill(served.store, "ann"), *keys, session)


@schemathesis.serializer("application/jsonl", "application/x-ndjson")
def _lines(_context: object, value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


schema = schemathesis.openapi.from_dict(create_app().openapi())
schema.config.phases.coverage.unexpected_methods = {"options", "patch"}  # the router treats all others alike
schema.config.generation.update(with_security_parameters=False)  # the key is sent below, whatever was made up


def _test_of(operation: str) -> Any:
    """The cases of one operation, under a name of their own: of tests that share one, xdist runs only one."""
    spared: list[Any] = [positive_data_acceptance] if operation.removesuffix("_head") in _BY_CONTENT else []
    if operation == "add_batch":  # any text is a manifest, if only one with faults: `dry_run` answers with those
        spared.append(negative_data_rejection)

    @schema.include(operation_id=operation).parametrize()
    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        derandomize=not os.environ.get("REELQ_FUZZ"),
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: schemathesis.Case[Any], fuzzed: Fuzzed) -> None:
        _name_what_is_there(case, fuzzed.stock)
        key = {"Authorization": f"Bearer {fuzzed.metrics_key if operation == 'show_metrics' else fuzzed.key}"}
        case.call_and_validate(base_url=fuzzed.served.url, headers=key, excluded_checks=spared, session=fuzzed.session)

    return ask


for _path in schema.raw_schema["paths"].values():
    for _method in _path.values():
        _name = _method["operationId"]
        globals()[f"test_{_name}_answers_as_the_schema_says"] = _test_of(_name)


def _name_what_is_there(case: schemathesis.Case[Any], stock: Stock) -> None:
    """Ids that are right by their form become such as exist; for streams, ones that nobody sets going again."""
    rests = case.operation.path.endswith("/events")
    known = {
        "batch_id": [stock.ended_batch] if rests else [stock.batch],
        "job_id": [stock.ended_job] if rests else [*stock.jobs.values()],
    }
    named: dict[str, Any] = case.path_parameters or {}
    for name in named.keys() & known.keys():
        if _ID.fullmatch(str(named[name])):
            named[name] = known[name][sum(map(ord, named[name])) % len(known[name])]
