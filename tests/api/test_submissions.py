"""Batches and rows over HTTP: every way in which they come, what is wrong with them, and where no name leads."""

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from api import batch_intake
from reelq.storage import Storage
from reelq.store.db.client_models import Asset
from reelq.store.db.models import Batch, Job
from tests.acceptance.running import until
from tests.api.serving import Served, kept, on_the_stricter_one, rough, status
from tests.api.test_assets import MP4, upload

CSV = "file,instruction,mood\nclips/beach.mp4,Trim to 5 s,calm\nforest.mp4,Trim to 3 s,wild\n"
FILES = {"clips/beach.mp4": MP4 + b"beach", "forest.mp4": MP4 + b"forest"}


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def parts(manifest: str = CSV, files: dict[str, bytes] | None = None, **more: Any) -> list[tuple[str, Any]]:
    given = FILES if files is None else files
    found = [("files", (name, content)) for name, content in given.items()]
    return [*found, ("manifest", ("shots.csv", manifest)), *more.items()]


def hand_in(client: httpx.Client, content: str | bytes, kind: str = "text/csv", **query: Any) -> httpx.Response:
    return client.post("/v1/batches", content=content, headers={"Content-Type": kind}, params=query)


def jobs_of(served: Served, batch_id: str) -> list[Job]:
    with served.store.read() as session:
        return list(session.scalars(select(Job).where(Job.batch_id == batch_id).order_by(Job.row)))


def nothing_was_made(served: Served) -> bool:
    with served.store.read() as session:
        counts = [session.scalar(select(func.count()).select_from(table)) for table in (Batch, Job, Asset)]
    return counts == [0, 0, 0] and kept(served) == []


@on_the_stricter_one
def test_a_manifest_comes_with_its_files_in_one_request(ann: httpx.Client, served: Served) -> None:
    made = ann.post("/v1/batches", files=parts(files={**FILES, "spare.mp4": MP4 + b"spare"}))
    assert made.status_code == 201, made.text
    told = made.json()
    assert made.headers["location"] == f"/v1/batches/{told['id']}"
    assert (told["name"], told["total"], told["counts"]["queued"]) == ("shots.csv", 2, 2)
    beach, forest = jobs_of(served, told["id"])
    assert (beach.file, beach.inputs, beach.output) == ("clips/beach.mp4", [sha(MP4 + b"beach")], "1-beach.mp4")
    assert (forest.extra, forest.inputs) == ({"mood": "wild"}, [sha(MP4 + b"forest")])
    assert {path.name for path in kept(served)} == {
        sha(content) for content in FILES.values()
    }  # none that no row names
    with served.store.read() as session:
        batch = session.get_one(Batch, told["id"])
        assert (batch.source, batch.out, batch.owner) == ("", "", "ann")


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("text/csv; charset=utf-8", "file,instruction,references\n{0},Swap,{1}\n"),
        ("text/csv", "\ufefffile,instruction,references\n{0},裁剪,{1}\n"),
        ("application/jsonl", '{{"file": "{0}", "instruction": "Swap", "references": ["{1}"]}}'),
        ("application/x-ndjson", '{{"file": "{0}", "instruction": "Swap", "references": "{1}"}}\n'),
        ("application/json", '{{"rows": [{{"file": "{0}", "instruction": "Swap", "references": ["{1}"]}}]}}'),
    ],
)
def test_rows_name_assets_in_every_form(ann: httpx.Client, served: Served, kind: str, content: str) -> None:
    clip, photo = upload(ann).json()["id"], upload(ann, b"\xff\xd8\xff" + bytes(50), "face.jpg").json()["id"]
    encoding = "utf-16-le" if content.startswith("\ufeff") else "utf-8"
    made = hand_in(ann, content.format(clip, photo).encode(encoding), kind, name="faces")
    assert made.status_code == 201, made.text
    assert made.json()["name"] == "faces"
    (job,) = jobs_of(served, made.json()["id"])
    assert (job.file, job.references) == (clip, [photo])
    assert [f"sha256:{one}" for one in job.inputs] == [clip, photo]
    assert job.output == "1-beach.mp4"


def test_names_stand_for_assets_as_the_client_says(ann: httpx.Client, served: Served) -> None:
    clip = upload(ann).json()["id"]
    names = {"../clips/b.mp4": clip, "C:\\clips\\c.mp4": clip, "/home/me/d.mp4": clip}
    manifest = "file,instruction\n" + "".join(f"{name},Trim to 5 s\n" for name in names)
    made = ann.post("/v1/batches", files=parts(manifest, {}, assets=(None, json.dumps(names), "application/json")))
    assert made.status_code == 201, made.text
    rows = [{"file": name, "instruction": "Trim to 4 s"} for name in names]
    also = ann.post("/v1/batches", json={"rows": rows, "assets": names, "name": "again"})
    assert (also.status_code, also.json()["name"]) == (201, "again")
    for batch in (made, also):
        found = jobs_of(served, batch.json()["id"])
        assert [job.file for job in found] == list(names)
        assert {f"sha256:{one}" for job in found for one in job.inputs} == {clip}


def test_every_fault_is_told_with_its_line_and_nothing_is_made(ann: httpx.Client, served: Served) -> None:
    manifest = "file,instruction,skill\nclips/beach.mp4,Trim,nonsense\ngone.mp4,Trim,\nforest.mp4,Trim,\n"
    refused = ann.post("/v1/batches", files=parts(manifest))
    assert (refused.status_code, refused.json()["code"]) == (422, "manifest_error")
    told = [(one["line"], one["row"], one["column"], one["value"]) for one in refused.json()["faults"]]
    assert told == [(2, 1, "skill", "nonsense"), (3, 2, "file", "gone.mp4")]
    assert "upload" in refused.json()["faults"][1]["hint"].lower()
    assert nothing_was_made(served)


def test_a_dry_run_tells_faults_warnings_and_cost_and_keeps_nothing(ann: httpx.Client, served: Served) -> None:
    manifest = CSV + "gone.mp4,Trim,\nclips/beach.mp4,improve it,\n"
    told = ann.post("/v1/batches", files=parts(manifest), params={"dry_run": "true"})
    assert told.status_code == 200, told.text
    found = told.json()
    assert [one["line"] for one in found["faults"]] == [4]
    assert [one["line"] for one in found["warnings"]] == [5]
    cost = {"rows": 3, "sends": 3, "generations": 0, "credits": 150, "seen": False, "available": None}
    assert (found["rows"], found["estimate"]) == (3, cost)
    assert nothing_was_made(served)


@on_the_stricter_one
def test_the_first_rows_and_a_limit_of_credits_are_as_on_the_command_line(ann: httpx.Client, served: Served) -> None:
    made = ann.post("/v1/batches", files=parts(), params={"first": 1, "limit_credits": 70}).json()
    assert (made["released"], made["limit_credits"]) == (1, 70)
    for wrong in ({"first": 0}, {"first": 10**12}, {"limit_credits": -1}, {"firs": 1}, {"skill": "nonsense"}):
        assert ann.post("/v1/batches", files=parts(), params=wrong).status_code == 422
    with served.store.read() as session:
        assert session.scalar(select(func.count()).select_from(Batch)) == 1


def test_one_row_is_a_batch_of_its_own(ann: httpx.Client, served: Served) -> None:
    clip = upload(ann).json()["id"]
    made = ann.post("/v1/jobs", json={"file": clip, "instruction": "Trim to 5 s", "mood": "calm"})
    assert made.status_code == 201, made.text
    told = made.json()
    assert made.headers["location"] == f"/v1/jobs/{told['id']}"
    assert (told["file"], told["instruction"], told["extra"]) == (clip, "Trim to 5 s", {"mood": "calm"})
    assert ann.get(f"/v1/batches/{told['batch']}").json()["total"] == 1
    refused = ann.post("/v1/jobs", json={"file": "beach.mp4", "instruction": "Trim"})
    assert (refused.status_code, refused.json()["faults"][0]["column"]) == (422, "file")


REFUSED: tuple[tuple[dict[str, Any], int], ...] = (
    ({"files": parts(files={"beach.mp4": b"%PDF-1.7" + bytes(900)})}, 415),
    ({"files": parts(files={"notes.txt": MP4})}, 415),
    ({"files": parts(files={"beach.mp4": b""})}, 422),
    ({"files": [("files", ("a.mp4", MP4)), ("files", ("a.mp4", MP4)), ("manifest", ("m.csv", CSV))]}, 422),
    ({"files": [("files", ("a.mp4", MP4))]}, 422),
    ({"files": [("manifest", ("m.csv", CSV)), ("manifest", ("m.csv", CSV))]}, 422),
    ({"files": parts(surprise=(None, b"x"))}, 422),
    ({"files": parts(assets=(None, b"not json"))}, 422),
    ({"files": parts(assets=(None, b'{"a.mp4": "sha256:zz"}'))}, 422),
    ({"files": parts(assets=(None, b'["a.mp4"]'))}, 422),
    ({"content": b"--x\r\nnonsense", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400),
    ({"content": b"", "headers": {"Content-Type": "multipart/form-data"}}, 400),
    ({"content": b"a", "headers": {"Content-Type": f"multipart/form-data; boundary={'x' * 300}"}}, 400),
    ({"content": b"file\n", "headers": {"Content-Type": "application/zip"}}, 415),
    ({"content": b"file\n"}, 415),
    ({"content": b"", "headers": {"Content-Type": "text/csv"}}, 422),
    ({"content": b"\x00\xff\xfe", "headers": {"Content-Type": "text/csv"}}, 422),
    ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 422),
    ({"json": {"rows": []}}, 422),
    ({"json": {"rows": [{"file": {"a": 1}}]}}, 422),
    ({"json": {"rows": ["a"]}}, 422),
    ({"json": {"rows": [{"instruction": "Make it"}], "surprise": 1}}, 422),
    ({"json": {"rows": [{"instruction": "Make it"}], "name": "a\0b"}}, 422),
    ({"content": b"[" * 100_000, "headers": {"Content-Type": "application/json"}}, 422),
)


@on_the_stricter_one
def test_what_is_no_batch_is_refused_and_leaves_nothing(ann: httpx.Client, served: Served) -> None:
    for sent, wanted in REFUSED:
        refused = ann.post("/v1/batches", **sent)
        assert refused.status_code == wanted, (sent, refused.text)
        assert refused.headers["content-type"] == "application/problem+json"
        assert nothing_was_made(served), sent


def test_a_request_has_its_bounds(ann: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = ("Content-Type: multipart/form-data; boundary=x", "Content-Length: 10000000001")
    with rough(served, "ann", "POST /v1/batches", *headers) as line:
        assert status(line) == 413
    with rough(served, "ann", "POST /v1/batches", "Content-Type: text/csv", "Content-Length: 100000001") as line:
        assert status(line) == 413
    monkeypatch.setattr(batch_intake, "MOST_FILES", 2)
    assert ann.post("/v1/batches", files=parts()).status_code == 201
    many = ann.post("/v1/batches", files=parts(files={**FILES, "one_more.mp4": MP4}))
    assert (many.status_code, many.json()["code"]) == (413, "too_many_files")


@on_the_stricter_one
def test_half_a_character_is_refused_wherever_it_stands(ann: httpx.Client) -> None:
    half = {"Content-Type": "application/json"}
    for body in (b'{"instruction": "a\\ud800"}', b'{"instruction": "a", "mood": "\\ud800"}', b'{"\\ud800": "a"}'):
        assert ann.post("/v1/jobs", content=body, headers=half).status_code == 422, body
        assert ann.post("/v1/batches", content=b'{"rows": [%s]}' % body, headers=half).status_code == 422, body
        assert ann.post("/v1/batches", content=body, headers={"Content-Type": "application/jsonl"}).status_code == 422


@on_the_stricter_one
def test_a_form_that_breaks_off_leaves_nothing_behind(ann: httpx.Client, served: Served) -> None:
    whole = ann.build_request("POST", "/v1/batches", files=parts(files={"beach.mp4": MP4 + bytes(2_000_000)}))
    body, kind = whole.read(), whole.headers["content-type"]
    headers = (f"Content-Type: {kind}", f"Content-Length: {len(body)}")
    with rough(served, "ann", "POST /v1/batches", *headers) as line:
        line.sendall(body[:1_500_000])
        until(lambda: len(kept(served)) == 1, "a part is there")
    until(lambda: nothing_was_made(served), "nothing is left")
    cut = ann.post("/v1/batches", content=body[:1_500_000], headers={"Content-Type": kind})
    assert (cut.status_code, cut.json()["code"]) == (400, "bad_form")
    assert nothing_was_made(served)


PATHS = [
    "../beach.mp4", "clips/../../beach.mp4", "/etc/passwd", "/tmp/beach.mp4", "~/beach.mp4",
    "..\\beach.mp4", "clips\\beach.mp4", "C:\\clips\\beach.mp4", "C:/clips/beach.mp4", "\\\\server\\share\\beach.mp4",
]  # fmt: skip
NOTHING = [".", "./", "beach.mp4/", "//", "gone.mp4", "sha256:", "sha256:../../etc/passwd", "sha256:" + "G" * 64]
ADDRESSES = [
    "file:///etc/passwd", "FILE:///etc/passwd.mp4", "ftp://example.com/a.mp4", "http://LOCALHOST./a.mp4",
    "http://2130706433/a.mp4", "http://169.254.169.254/latest/meta-data/a.mp4", "http://[::ffff:127.0.0.1]/a.mp4",
    "http://user:secret@example.com/a.mp4",
]  # fmt: skip
"""Names and addresses that would lead somewhere."""


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.mark.parametrize("names", [PATHS, NOTHING, ADDRESSES], ids=["paths", "nothing", "addresses"])
def test_a_cell_that_would_lead_somewhere_is_a_fault(ann: httpx.Client, served: Served, names: list[str]) -> None:
    lines = "".join(f"{quoted(name)},Trim,{quoted(name)}\n" for name in names)
    refused = ann.post("/v1/batches", files=parts(f"file,instruction,references\n{lines}"))
    assert refused.status_code == 422, refused.text
    for column in ("file", "references"):
        told = [one for one in refused.json()["faults"] if one["column"] == column]
        assert [one["row"] for one in told] == list(range(1, len(names) + 1))
        assert all(one["message"] and one["hint"] for one in told)
    assert nothing_was_made(served)


@pytest.mark.parametrize("name", ["../beach.mp4", "/tmp/beach.mp4", "a/../../b.mp4", "a\\b.mp4", "a\x7f.mp4", "a.mp4/"])
def test_a_file_is_not_called_by_a_path(ann: httpx.Client, served: Served, name: str) -> None:
    as_asset = upload(ann, name=name)
    assert (as_asset.status_code, as_asset.json()["code"]) == (422, "invalid_name")
    boundary = {"Content-Type": "multipart/form-data; boundary=x"}
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    as_part = ann.post("/v1/batches", content=head + MP4 + b"\r\n--x--\r\n", headers=boundary)
    assert (as_part.status_code, as_part.json()["code"]) == (422, "invalid_name")
    assert nothing_was_made(served)


@on_the_stricter_one
@pytest.mark.parametrize("name", ["..", "../../x", "sha256:..%2f..%2fetc%2fpasswd", "sha256:" + "a" * 63, "%00"])
def test_an_asset_s_address_leads_nowhere_else(ann: httpx.Client, name: str) -> None:
    assert ann.get(f"/v1/assets/{name}").status_code == 404


def test_a_name_without_its_folders_is_enough_where_it_is_one_file_s(ann: httpx.Client) -> None:
    one = parts("file,instruction\nclips/beach.mp4,Trim\n", {"beach.mp4": MP4})
    assert ann.post("/v1/batches", files=one).status_code == 201
    other_way = parts("file,instruction\nbeach.mp4,Trim\n", {"clips/beach.mp4": MP4})
    assert ann.post("/v1/batches", files=other_way).status_code == 201
    two = {"a/beach.mp4": MP4, "b/beach.mp4": MP4 + b"b"}
    for manifest, files in (
        ("file,instruction\nbeach.mp4,Trim\n", two),
        ("file,instruction\na/beach.mp4,Trim\nb/beach.mp4,Trim\n", {"beach.mp4": MP4}),
        ("file,instruction\nbeach.mp4,Trim\nb/beach.mp4,Trim\n", {"beach.mp4": MP4}),
        ("file,instruction\nb/beach.mp4,Trim\nbeach.mp4,Trim\n", {"beach.mp4": MP4}),
    ):
        refused = ann.post("/v1/batches", files=parts(manifest, files))
        (fault,) = refused.json()["faults"]
        assert fault["message"] == "it is unclear which uploaded file this name refers to"
    both = ann.post("/v1/batches", files=parts("file,instruction\na/beach.mp4,Trim\nb/beach.mp4,Trim\n", two))
    assert both.status_code == 201


def test_a_name_that_says_another_kind_than_what_came_is_a_fault(ann: httpx.Client) -> None:
    photo = upload(ann, b"\x89PNG\r\n" + bytes(50), "face.png").json()["id"]
    refused = ann.post(
        "/v1/batches", json={"rows": [{"file": "a.mp4", "instruction": "Trim"}], "assets": {"a.mp4": photo}}
    )
    assert [one["message"] for one in refused.json()["faults"]] == ["this file's type does not match its name"]


@pytest.mark.parametrize(
    ("planted", "answers"),
    [
        ("content", (404, 200, 201)),  # a link gives way to what belongs there
        ("folder", (404, 507, 422)),
        ("incoming", (200, 507, 201)),
    ],
)
def test_a_link_planted_in_the_storage_is_not_followed(
    ann: httpx.Client, served: Served, tmp_path: Path, planted: str, answers: tuple[int, int, int]
) -> None:
    (outside := tmp_path / "outside").mkdir()
    folder = served.service.settings.reelq_data_dir / "storage"
    made = upload(ann).json()["id"]
    content = folder / sha(MP4)[:2] / sha(MP4)
    if planted == "content":
        (outside / "secret.mp4").write_bytes(b"secret")
        content.unlink()
        content.symlink_to(outside / "secret.mp4")
    else:
        link = content.parent if planted == "folder" else folder / "incoming"
        link.rename(outside / link.name)
        link.symlink_to(outside / link.name)
    before = sorted(path.name for path in outside.rglob("*"))
    shown, again = ann.get(f"/v1/assets/{made}"), upload(ann)
    handed_in = hand_in(ann, f"file,instruction\n{made},Trim\n")
    assert (shown.status_code, again.status_code, handed_in.status_code) == answers
    assert sorted(path.name for path in outside.rglob("*")) == before
    if planted == "content":
        with Storage.of(served.service.settings).open(sha(MP4)) as file:
            assert file.read() == MP4
        assert (outside / "secret.mp4").read_bytes() == b"secret"
        assert not [path for path in kept(served) if path.is_symlink()]
