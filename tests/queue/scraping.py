"""Asks a worker for its metrics, as Prometheus does."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, tuple[str, ...]], float]
"""By name and the values of labels."""


def asked_at(port: int) -> str:
    """What a worker answers."""
    return httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).raise_for_status().text


def samples(text: str) -> Samples:
    """The same, taken apart."""
    found = (one for family in text_string_to_metric_families(text) for one in family.samples)
    return {(one.name, tuple(one.labels.values())): one.value for one in found}


def summed(told: Samples, name: str, *words: str) -> float:
    """All samples of this name that have these values among their labels."""
    return sum(value for (one, at), value in told.items() if one == name and {*words} <= {*at})
