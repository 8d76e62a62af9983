"""Checks that a process in this container is healthy: it answers, and the timestamp in a metric, if given, is recent.

python healthy.py http://127.0.0.1:8000/readyz
python healthy.py http://127.0.0.1:9100/metrics 'METRIC{label="value"}' 60
"""

import http.client
import math
import sys
import time
from urllib.parse import urlsplit

SECONDS = 4


def main() -> None:
    """Exit with code 0 if the process is healthy, else with code 1 and the reason."""
    address, *recent = sys.argv[1:]
    body = fetch(address)
    if recent:
        metric, max_age = recent
        age = time.time() - timestamp(body, metric)
        if age > float(max_age):
            sys.exit(f"{metric} is {age:.0f} seconds old")


def fetch(address: str) -> str:
    """Return the body of a 200 answer. Proxies in the environment are not used."""
    url = urlsplit(address)
    connection = http.client.HTTPConnection(url.hostname or "127.0.0.1", url.port, timeout=SECONDS)
    try:
        connection.request("GET", url.path)
        answer = connection.getresponse()
        body = answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"{address} does not respond: {error}")
    if answer.status != http.client.OK:
        sys.exit(f"{address} answers {answer.status}: {body[:400]}")
    return body


def timestamp(body: str, metric: str) -> float:
    """Return the timestamp in a metric; if there is no such metric, minus infinity."""
    values = (line.removeprefix(metric) for line in body.splitlines() if line.startswith(f"{metric} "))
    return float(next(values, -math.inf))


if __name__ == "__main__":
    main()
