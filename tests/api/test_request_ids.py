"""What the service writes of its requests: each line an object that names the request, whoever asked, and no key."""

import json
import re
import signal
from pathlib import Path

from tests.api.serving import running


def test_every_line_is_an_object_and_a_requests_lines_say_which_and_whose(tmp_path: Path) -> None:
    with running(tmp_path, REELQ_LOG_FORMAT="json") as service:
        client = service.client
        ours = client.get("/v1/batches").raise_for_status().headers["X-Request-ID"]
        named = client.get("/v1/skills", headers={"X-Request-ID": "from-the-proxy_1"})
        assert named.headers["X-Request-ID"] == "from-the-proxy_1"
        evil = client.get("/v1/skills", headers={"X-Request-ID": "a b\x01{}"}).headers["X-Request-ID"]
        assert re.fullmatch("[0-9a-f]{16}", evil)
        refused = client.get("/v1/batches", headers={"Authorization": "Bearer rq_wrong"})
        assert refused.status_code == 401
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(60)
        text = service.log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    by_request = {line["request"]: line for line in lines if "request" in line}
    assert by_request.keys() == {ours, "from-the-proxy_1", evil, refused.headers["X-Request-ID"]}
    for request in (ours, "from-the-proxy_1", evil):
        assert (by_request[request]["key"], by_request[request]["owner"]) == (service.key_id, "ann")
    assert "owner" not in by_request[refused.headers["X-Request-ID"]]
    assert service.secret not in text
    assert "Started server process" in lines[0]["message"]
