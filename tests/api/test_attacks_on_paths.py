"""Names and addresses that would lead somewhere: refused, in words that help, with nothing read and nothing written."""

from pathlib import Path

import httpx
import pytest

from reelq.storage import Storage
from tests.api.rough import kept
from tests.api.serving import Served, on_the_stricter_one
from tests.api.test_assets import MP4, upload
from tests.api.test_submissions import hand_in, nothing_was_made, parts, sha

PATHS = [
    "../beach.mp4", "clips/../../beach.mp4", "/etc/passwd", "/tmp/beach.mp4", "~/beach.mp4",
    "..\\beach.mp4", "clips\\beach.mp4", "C:\\clips\\beach.mp4", "C:/clips/beach.mp4", "\\\\server\\share\\beach.mp4",
]  # fmt: skip
NOTHING = [".", "./", "beach.mp4/", "//", "gone.mp4", "sha256:", "sha256:../../etc/passwd", "sha256:" + "G" * 64]
ADDRESSES = [
    "file:///etc/passwd",
    "FILE:///etc/passwd.mp4",
    "ftp://example.com/a.mp4",
    "http://LOCALHOST./a.mp4",
    "http://2130706433/a.mp4",
    "http://169.254.169.254/latest/meta-data/a.mp4",
    "http://[::ffff:127.0.0.1]/a.mp4",
    "http://user:secret@example.com/a.mp4",
]
OUTPUTS = ["../out.mp4", "/tmp/out.mp4", "a/../../out.mp4", "C:\\out.mp4", "..\\out.mp4", "results.csv/a.mp4"]


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


@on_the_stricter_one
@pytest.mark.parametrize("name", ["a\0b.mp4", "a\x1bb.mp4"])
def test_a_control_character_in_a_cell_is_a_fault(ann: httpx.Client, served: Served, name: str) -> None:
    rows = [{"file": name, "instruction": "Trim"}]
    refused = ann.post("/v1/batches", json={"rows": rows, "assets": {name: upload(ann).json()["id"]}})
    assert [one["message"] for one in refused.json()["faults"]] == ["there is a control character in this cell"]


def test_an_output_leaves_nothing(ann: httpx.Client, served: Served) -> None:
    lines = "".join(f"beach.mp4,Trim,{quoted(name)}\n" for name in OUTPUTS)
    refused = ann.post("/v1/batches", files=parts(f"file,instruction,output\n{lines}", {"beach.mp4": MP4}))
    assert [one["row"] for one in refused.json()["faults"]] == list(range(1, len(OUTPUTS) + 1))
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
        assert [one["message"] for one in refused.json()["faults"]] == ["which uploaded file is meant can't be told"]
    both = ann.post("/v1/batches", files=parts("file,instruction\na/beach.mp4,Trim\nb/beach.mp4,Trim\n", two))
    assert both.status_code == 201


def test_a_name_that_says_another_kind_than_what_came_is_a_fault(ann: httpx.Client) -> None:
    photo = upload(ann, b"\x89PNG\r\n" + bytes(50), "face.png").json()["id"]
    refused = ann.post(
        "/v1/batches", json={"rows": [{"file": "a.mp4", "instruction": "Trim"}], "assets": {"a.mp4": photo}}
    )
    assert [one["message"] for one in refused.json()["faults"]] == ["this is not what its name says"]


@pytest.mark.parametrize("planted", ["content", "folder", "incoming"])
def test_a_link_planted_in_the_storage_is_not_followed(
    ann: httpx.Client, served: Served, tmp_path: Path, planted: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    sha256 = sha(MP4)
    folder = served.service.settings.reelq_data_dir / "storage"
    made = upload(ann).json()["id"]
    content = folder / sha256[:2] / sha256
    if planted == "content":
        (outside / "secret.mp4").write_bytes(b"secret")
        content.unlink()
        content.symlink_to(outside / "secret.mp4")
    else:
        link = content.parent if planted == "folder" else folder / "incoming"
        link.rename(outside / link.name)
        link.symlink_to(outside / link.name)
    before = sorted(path.name for path in outside.rglob("*"))
    shown = ann.get(f"/v1/assets/{made}").status_code
    again = upload(ann)
    if planted == "incoming":
        assert (shown, again.status_code) == (200, 507)
    else:
        assert shown == 404
        assert hand_in(ann, f"file,instruction\n{made},Trim\n").status_code == (201 if planted == "content" else 422)
        assert again.status_code == (200 if planted == "content" else 507)  # a link gives way to what belongs there
    assert sorted(path.name for path in outside.rglob("*")) == before
    if planted == "content":
        with Storage.of(served.service.settings).open(sha256) as file:
            assert file.read() == MP4
        assert (outside / "secret.mp4").read_bytes() == b"secret"
        assert not [path for path in kept(served) if path.is_symlink()]
