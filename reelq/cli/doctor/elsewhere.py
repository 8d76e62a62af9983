"""The reelq service that commands ask, where one is named: whether it is there, and knows the key."""

from collections.abc import Iterator
from typing import Final

from reelq.cli.away.service import Service, in_the_clear, service_at
from reelq.cli.doctor.finding import Finding, Patient, ok, warning, wrong
from reelq.cli.wording import masked
from reelq.errors import ReelqError, ServiceAway, SettingsError

ABOUT: Final = "reelq service"


def check_elsewhere(patient: Patient) -> Iterator[Finding]:
    """One question with the key, and one whether it is ready."""
    address = patient.settings.reelq_api_url
    if address is None:
        if patient.settings.reelq_api_key is not None:
            yield warning(ABOUT, "REELQ_API_KEY is set, but REELQ_API_URL is not", "Set both, or unset the key.")
        return
    try:
        with service_at(address, patient.settings, warn=False) as service:
            if in_the_clear(address):
                what = f"the key and your files go to {masked(address)} unencrypted"
                yield warning(ABOUT, what, "Use https://; whoever runs the service puts something before it for that.")
            service.get("/v1/batches", limit=1)
            yield ok(ABOUT, f"{masked(address)} answers, and accepts the key")
            yield from _readiness(service, address)
    except ReelqError as error:
        yield wrong(ABOUT, str(error), error.advice)


def _readiness(service: Service, address: str) -> Iterator[Finding]:
    try:
        service.get("/readyz")
    except ServiceAway as away:
        yield warning(ABOUT, str(away), f"Whoever runs {masked(address)} has to see to it; rows wait meanwhile.")
    except SettingsError:  # some keep that route to themselves
        return
