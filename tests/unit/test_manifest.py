"""A manifest read in every form that spreadsheets and scripts write, into rows."""

import codecs
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from reelq import manifest, skills
from reelq.errors import ManifestError
from reelq.job import Route
from reelq.manifest import Checked, Facts, LocalFiles, Row

SKILLS = skills.load()
EXAMPLE = Path(__file__).parents[2] / "jobs.example.csv"


class Shelf:
    """Files that are all there, each asked for once."""

    def __init__(self, lengths: Mapping[str, float] | None = None) -> None:
        self.asked: list[str] = []
        self._lengths = lengths or {}

    def look(self, name: str) -> Facts:
        self.asked.append(name)
        return Facts(name, 1000)

    def seconds(self, name: str) -> float | None:
        return self._lengths.get(name)


def check(data: str | bytes, *, name: str = "jobs.csv", default_skill: str = "video-models") -> Checked:
    body = data.encode() if isinstance(data, str) else data
    return manifest.check(body, name=name, files=Shelf(), skills=SKILLS, default_skill=default_skill)


def rows(data: str | bytes, *, name: str = "jobs.csv") -> tuple[Row, ...]:
    return check(data, name=name).rows_or_raise()


def only(data: str | bytes, *, name: str = "jobs.csv") -> Row:
    (row,) = rows(data, name=name)
    return row


def test_the_example_manifest_has_no_fault_and_no_warning() -> None:
    checked = manifest.check_file(EXAMPLE, skills=SKILLS)
    assert (checked.faults, checked.warnings) == ((), ())
    assert {row.skill for row in checked.rows} == set(SKILLS)
    assert [row.route for row in checked.rows].count(Route.EXPORT) == 1
    assert {row.extra["client"] for row in checked.rows} == {"Aurora Travel", "Northwind"}


def test_a_row_says_all_that_its_cells_say() -> None:
    row = only(
        "file,instruction,id,references,skill,language,session,priority,output,client\n"
        "a.mp4,Swap the face,one,face.jpg; b.png ,ai-video-face-swap,zh_cn,talk,-2,out//./A.mp4,Aurora\n"
    )
    assert row == Row(
        number=1,
        line=2,
        id="one",
        file="a.mp4",
        instruction="Swap the face",
        references=("face.jpg", "b.png"),
        skill="ai-video-face-swap",
        language="zh-CN",
        session="talk",
        priority=-2,
        output="out/A.mp4",
        route=Route.EDIT,
        extra={"client": "Aurora"},
    )


def test_empty_cells_have_their_defaults() -> None:
    row = only("file,instruction\nclips/a.mp4,加上字幕\n")
    assert (row.id, row.skill, row.language, row.session) == ("1", "video-models", "zh-CN", "")
    assert (row.priority, row.output, row.references, row.extra) == (0, "1-a.mp4", (), {})


def test_a_default_skill_can_be_given() -> None:
    checked = check("instruction,skill\nAdd a title,\nAdd music,video-models\n", default_skill="ai-video-help")
    assert [row.skill for row in checked.rows] == ["ai-video-help", "video-models"]


def test_an_unknown_default_skill_is_told_once() -> None:
    checked = check("instruction\nAdd a title\nAdd music\nFade out\n", default_skill="video-model")
    assert [str(fault) for fault in checked.faults] == [
        "line 2, skill: no skill has this name (found 'video-model'). Did you mean 'video-models'?"
    ]


@pytest.mark.parametrize(("delimiter", "form"), [(",", "comma"), (";", "semicolon"), ("\t", "tab")])
def test_the_delimiter_is_told_from_the_header(delimiter: str, form: str) -> None:
    table = [["id", "file", "instruction"], ["one", "a.mp4", '"cut, trim; fade"']]
    checked = check("\n".join(delimiter.join(line) for line in table))
    assert (checked.form, checked.rows[0].instruction) == (form, "cut, trim; fade")


def test_a_delimiter_within_quotes_does_not_count() -> None:
    checked = check('"my;own;note",file,instruction\nx,a.mp4,Cut the pauses\n')
    assert (checked.form, checked.columns) == ("comma", ("my;own;note", "file", "instruction"))


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;;;"])
def test_excels_line_with_the_delimiter_is_taken_and_counted(first: str) -> None:
    row = only(f"{first}\r\nfile;instruction\r\na.mp4;Cut, then fade\r\n")
    assert (row.line, row.instruction) == (3, "Cut, then fade")


def test_excels_line_can_name_the_tab() -> None:
    assert only("sep=\t\nfile\tinstruction\na.mp4\tCut, then fade\n").line == 3


TEXT = "编号,file,instruction\n一,a.mp4,把声音调小一点，加上字幕\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("gb18030"),
    ],
    ids=["utf-8", "utf-8 with mark", "utf-16-le", "utf-16-be", "gb18030"],
)
def test_the_encodings_that_spreadsheets_write_are_told_apart(data: bytes) -> None:
    row = only(data)
    assert (row.id, row.instruction, row.language) == ("一", "把声音调小一点，加上字幕", "zh-CN")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_told_by_its_zeros(encoding: str) -> None:
    assert only("file,instruction\na.mp4,加上字幕\n".encode(encoding)).instruction == "加上字幕"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_whatever_ends_them_and_whatever_stands_in_quotes(end: str) -> None:
    lines = ["file,instruction", "", 'a.mp4,"Add the title', "", 'in two lines"', " , ", "b.mp4,Cut the pauses"]
    first, second = rows(end.join(lines))
    assert (first.line, first.number, second.line, second.number) == (3, 1, 7, 2)
    assert first.instruction == f"Add the title{end}{end}in two lines"


def test_columns_are_known_whatever_their_case_and_blanks_and_in_chinese() -> None:
    row = only(" FILE , 指令 ,Session,我的备注\na.mp4,Cut,talk,好\n")
    assert (row.file, row.instruction, row.session, row.extra) == ("a.mp4", "Cut", "talk", {"我的备注": "好"})


def test_a_column_may_follow_a_blank_before_its_quote() -> None:
    assert only('file, instruction\na.mp4, "Cut, then fade"\n').instruction == "Cut, then fade"


def test_empty_columns_at_the_end_and_short_rows_are_taken() -> None:
    first, second = rows("file,instruction,client,,\na.mp4,Cut,,,\nb.mp4,Fade\n")
    assert (first.extra, second.extra) == ({"client": ""}, {"client": ""})


def test_the_users_columns_keep_their_names_and_their_order() -> None:
    checked = check("Zebra,file,instruction,Apple\nz,a.mp4,Cut,a\n")
    assert list(checked.rows[0].extra.items()) == [("Zebra", "z"), ("Apple", "a")]
    assert checked.columns == ("Zebra", "file", "instruction", "Apple")


JSON = {
    "file": "a.mp4",
    "instruction": "Cut",
    "references": ["x;y.png", " z.png "],
    "priority": 3,
    "shots": [1, {"a": None}],
}


@pytest.mark.parametrize("name", ["jobs.jsonl", "jobs.NDJSON", "stdin"])
def test_json_lines_are_told_by_name_or_by_their_first_character(name: str) -> None:
    row = only(f"\n{json.dumps(JSON)}\r\n", name=name)
    assert (row.line, row.number, row.priority, row.references) == (2, 1, 3, ("x;y.png", "z.png"))
    assert row.extra == {"shots": '[1, {"a": null}]'}


def test_json_rows_may_have_different_keys() -> None:
    lines = [{"file": "a.mp4", "instruction": "Cut"}, {"Instruction": "Fade", "client": "Aurora", "id": None}]
    checked = check("\n".join(map(json.dumps, lines)))
    assert checked.columns == ("file", "instruction", "client", "id")
    assert [(row.id, row.file, row.extra) for row in checked.rows] == [
        ("1", "a.mp4", {"client": ""}),
        ("2", "", {"client": "Aurora"}),
    ]


def test_deeply_nested_json_is_a_fault_and_no_crash() -> None:
    checked = check('{"file": ' + "[" * 100_000, name="jobs.jsonl")
    assert [fault.message for fault in checked.faults] == ["this line is not JSON"]


@pytest.mark.parametrize(
    ("file", "instruction", "output"),
    [
        ("clips/beach day (1).mp4", "Cut", "1-beach-day-1.mp4"),
        ("clips/海滩.mp4", "Cut", "1-海滩.mp4"),
        ("https://example.com/a/my%20clip.mov?x=1", "Cut", "1-my-clip.mp4"),
        ("https://example.com/", "Cut", "1-example.mp4"),
        ("", "Generate a paper boat", "1-Generate-a-paper-boat.mp4"),
        ("clips/🎬.mp4", "Cut", "1-video.mp4"),
        ("x" * 200 + ".mp4", "Cut", f"1-{'x' * 60}.mp4"),
        ("海" * 70 + ".mp4", "Cut", f"1-{'海' * 20}.mp4"),
        ("x" + "海" * 70 + ".mp4", "Cut", f"1-x{'海' * 19}.mp4"),
    ],
)
def test_a_result_is_named_after_its_row_and_its_file(file: str, instruction: str, output: str) -> None:
    assert only(json.dumps({"file": file, "instruction": instruction})).output == output


@pytest.mark.parametrize("instruction", ["", "upload", "show status", "credits"])
def test_a_row_that_brings_no_video_home_has_no_output(instruction: str) -> None:
    assert only(json.dumps({"file": "a.mp4", "instruction": instruction})).output == ""


def test_a_file_is_looked_at_once_however_many_rows_name_it() -> None:
    shelf = Shelf()
    data = b"file,instruction\n" + b"a.mp4,Cut\nb.mp4,Fade\n" * 50
    manifest.check(data, name="jobs.csv", files=shelf, skills=SKILLS)
    assert shelf.asked == ["a.mp4", "b.mp4"]


def test_urls_are_not_looked_for_on_the_disk() -> None:
    shelf = Shelf()
    data = b"file,instruction,references\nhttps://example.com/a.mp4,Cut,HTTP://example.com/b\n"
    checked = manifest.check(data, name="jobs.csv", files=shelf, skills=SKILLS)
    assert (shelf.asked, checked.faults) == ([], ())


def test_paths_are_read_from_the_manifests_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_bytes(b"clip")
    (tmp_path / "in" / "jobs.csv").write_text(f"file,instruction\na.mp4,Cut\n{tmp_path / 'in' / 'a.mp4'},Fade\n")
    assert manifest.check_file(tmp_path / "in" / "jobs.csv", skills=SKILLS).faults == ()


def test_a_name_like_it_is_offered_for_the_first_missing_files_and_another_case_for_all(tmp_path: Path) -> None:
    (tmp_path / "beach.mp4").write_bytes(b"clip")
    files = LocalFiles(tmp_path)
    hints = [files.look(f"beach{number}.mp4").hint for number in range(60)]
    assert hints == ["Did you mean 'beach.mp4'?"] * 50 + [""] * 10
    assert files.look("Beach.MP4").hint == "Did you mean 'beach.mp4'?"


def test_an_accent_written_in_another_way_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "e\u0301te\u0301.mp4").write_bytes(b"clip")
    assert LocalFiles(tmp_path).look("\xe9t\xe9.mp4").hint == "Did you mean 'e\u0301te\u0301.mp4'?"


def test_references_alone_are_something_to_upload() -> None:
    assert only("file,instruction,references\n,,face.jpg\n").route is Route.UPLOAD


def test_a_large_file_is_refused_by_its_size_alone(tmp_path: Path) -> None:
    for name, size in (("fits.mp4", 500 * 1024 * 1024), ("large.mp4", 500 * 1024 * 1024 + 1)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    (tmp_path / "jobs.csv").write_text("file,instruction\nfits.mp4,Cut\nlarge.mp4,Cut\n")
    faults = manifest.check_file(tmp_path / "jobs.csv", skills=SKILLS).faults
    assert [(fault.line, fault.message) for fault in faults] == [(3, "this file is over 500 MB")]


def test_a_pipe_is_refused_without_being_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "jobs.csv").write_text("file,instruction\npipe.mp4,Cut\n")
    faults = manifest.check_file(tmp_path / "jobs.csv", skills=SKILLS).faults
    assert [fault.message for fault in faults] == ["this is not a regular file"]


def test_a_link_that_leads_to_itself_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    facts = LocalFiles(tmp_path).look("loop.mp4")
    assert (facts.problem, bool(facts.hint)) == ("this file can't be read", True)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no file without an end")
def test_a_manifest_without_an_end_is_read_no_further_than_the_largest() -> None:
    with pytest.raises(ManifestError, match="the manifest is over 100 MB"):
        manifest.check_file(Path("/dev/zero"), skills=SKILLS)


@pytest.mark.parametrize(
    ("name", "refusal", "advice"),
    [
        pytest.param("none.csv", "there is no such manifest", "path", id="not there"),
        pytest.param("", "the manifest is a folder", "folder", id="a folder"),
        pytest.param("loop.csv", "the manifest can't be read", "may read", id="a link to itself"),
        pytest.param("large.csv", "the manifest is over 100 MB", "several", id="beyond all bounds"),
    ],
)
def test_a_manifest_that_cannot_be_had_is_refused_with_advice_that_fits(
    tmp_path: Path, name: str, refusal: str, advice: str
) -> None:
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    with (tmp_path / "large.csv").open("wb") as file:
        file.truncate(manifest.MAX_BYTES + 1)
    with pytest.raises(ManifestError, match=refusal) as refused:
        manifest.check_file(tmp_path / name, skills=SKILLS)
    assert advice in refused.value.advice
    assert "lines" not in refused.value.advice
    assert "lines named" in ManifestError.advice


@pytest.mark.parametrize(
    ("begins", "found"),
    [
        (b"\0\0\0\x18ftypmp42\0\0", "a video or a sound"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "a video or a sound"),
        (b"\x1a\x45\xdf\xa3\x01", "a video or a sound"),
        (b"RIFF\x10\0\0\0AVI LIST", "a video or a sound"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "a sound"),
        (b"ID3\x04\0\0", "a sound"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "a picture"),
        (b"\x89PNG\r\n\x1a\n\0\0", "a picture"),
        (b"GIF89a\x01\0", "a picture"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "a picture"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"PK\x03\x04\x14\0\0\0clips/beach.mp4", "an archive"),
        (b"\x1f\x8b\x08\0", "an archive"),
    ],
)
def test_a_file_of_another_kind_is_called_what_it_is(begins: bytes, found: str) -> None:
    (fault,) = check(begins).faults
    assert (fault.line, fault.message, fault.value) == (1, "this is not a manifest", found)
    assert "CSV" in fault.hint
    assert "Save as" not in fault.hint


@pytest.mark.parametrize(
    "begins",
    [
        b"PK\x03\x04\x14\0\x06\0\x08\0[Content_Types].xml",
        b"PK\x03\x04\x14\0\0\0\0\0mimetypeapplication/vnd.oasis.opendocument.spreadsheet",
        b"PK\x03\x04\x14\0\0\0\0\0_rels/.rels" + b"\0" * 3000 + b"xl/workbook.xml",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    ],
)
def test_a_workbook_is_told_how_to_become_a_manifest(begins: bytes) -> None:
    (fault,) = check(begins).faults
    assert fault.message == "this is a workbook, not a CSV file"
    assert "Excel" in fault.hint
    assert "CSV UTF-8" in fault.hint


@pytest.mark.parametrize("header", ["ID3,instruction", "GIF,instruction", "RIFF,instruction", "PK,instruction"])
def test_a_column_may_be_called_like_another_kind_of_file(header: str) -> None:
    assert check(f"{header}\nx,Add a title\n").faults == ()


def test_every_value_and_column_of_a_finding_can_be_encoded() -> None:
    data = '{"file": "\\ud800.mp4", "instruction": "Cut", "k\\udfff": "\\udc00"}\n'
    checked = check(data, name="jobs.jsonl")
    assert [(fault.column, fault.value) for fault in checked.faults] == [
        ("file", r"\ud800.mp4"),
        (r"k\udfff", r"\udc00"),
        (r"k\udfff", ""),
    ]


@pytest.mark.parametrize(
    "line", ["[" * 100_000, '{"a": ' + "1" * 5000 + "}", '{"file": "a.mp4",}', "{'a': 1}", "{} {}"]
)
def test_a_line_that_is_not_json_is_told_in_plain_words(line: str) -> None:
    (fault,) = check(line, name="jobs.jsonl").faults
    assert fault.message == "this line is not JSON"
    assert re.fullmatch(
        r"Each line holds one whole object, without a list around them"
        r"(; this one makes no sense from character \d+ on)?",
        fault.hint,
    )


def test_a_row_does_not_get_the_built_in_profile_in_place_of_the_users_own_broken_one(tmp_path: Path) -> None:
    path = tmp_path / "mine" / "SKILL.md"
    path.parent.mkdir()
    path.write_text("---\nname: video-models\nversion: 1.0\n---\n", encoding="utf-8")
    data = b"instruction,skill\nAdd a title,\nAdd music,video-models\nFade out,ai-video-help\n"
    checked = manifest.check(data, name="x", files=Shelf(), skills=skills.load([tmp_path]))
    assert [fault.line for fault in checked.faults] == [2, 3]
    assert {fault.message for fault in checked.faults} == {"this skill's profile is broken"}


def test_a_row_that_names_a_broken_profile_fails_with_its_file_and_line_and_no_other_does(tmp_path: Path) -> None:
    path = tmp_path / "mine" / "SKILL.md"
    path.parent.mkdir()
    path.write_text("---\nname: mine\nversion: 1.0\n---\n", encoding="utf-8")
    known = skills.load([tmp_path])

    def told(default_skill: str) -> list[tuple[int, str, str, str]]:
        data = b"instruction,skill\nAdd a title,\nAdd music,mine\nFade out,\n"
        checked = manifest.check(data, name="x", files=Shelf(), skills=known, default_skill=default_skill)
        return [(fault.line, fault.column, fault.message, fault.value) for fault in checked.faults]

    of_the_row = (3, "skill", "this skill's profile is broken", "mine")
    assert told("video-models") == [of_the_row]
    assert told("mine") == [(2, *of_the_row[1:]), of_the_row]
    (fault,) = manifest.check(b"instruction,skill\nCut,mine\n", name="x", files=Shelf(), skills=known).faults
    assert fault.hint.startswith(f"{path}: line 3: version is not text")


def test_a_faulty_manifest_raises_with_all_its_faults_and_warnings() -> None:
    checked = check("file,instruction,priority\na.mp4,Cut,x\nb.mp4,improve,y\nc.mp4,Fade,1\n")
    with pytest.raises(ManifestError) as refused:
        checked.rows_or_raise()
    assert ([fault.line for fault in refused.value.faults], len(refused.value.warnings)) == ([2, 3], 1)
    assert [row.file for row in checked.rows] == ["c.mp4"]
