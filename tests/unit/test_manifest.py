"""A manifest read in every form that spreadsheets and scripts write, into rows."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from reelq import skills
from reelq.errors import ManifestError
from reelq.job import Route
from reelq.manifest import checks
from reelq.manifest.checks import is_vague
from reelq.manifest.columns import Row
from reelq.manifest.inputs import LocalFiles
from tests.unit.shelf import SKILLS, Shelf, check

EXAMPLE = Path(__file__).parents[2] / "jobs.example.csv"


def rows(data: str | bytes, *, name: str = "jobs.csv") -> tuple[Row, ...]:
    return check(data, name=name).rows_or_raise()


def test_the_example_manifest_has_no_fault_and_no_warning() -> None:
    checked = checks.check_file(EXAMPLE, skills=SKILLS)
    assert (checked.faults, checked.warnings) == ((), ())
    assert {row.skill for row in checked.rows} == set(SKILLS)
    assert [row.route for row in checked.rows].count(Route.EXPORT) == 1
    assert {row.extra["client"] for row in checked.rows} == {"Aurora Travel", "Northwind"}


def test_a_row_says_all_that_its_cells_say() -> None:
    (row,) = rows(
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


COMMA, TRIM = "Cut, then fade", '"cut, trim; fade"'
DEFAULTS: dict[str, Any] = {"id": "1", "skill": "video-models", "language": "zh-CN", "session": "", "priority": 0}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file,instruction\nclips/a.mp4,加上字幕\n", {**DEFAULTS, "output": "1-a.mp4", "references": (), "extra": {}}),
        ("file,instruction,references\n,,face.jpg\n", {"route": Route.UPLOAD}),
        *(
            (f"{first}\r\nfile;instruction\r\na.mp4;{COMMA}\r\n", {"line": 3, "instruction": COMMA})
            for first in ("sep=;", '"sep=;"', "SEP=;;;")
        ),
        (f"sep=\t\nfile\tinstruction\na.mp4\t{COMMA}\n", {"line": 3, "instruction": COMMA}),
        ('"my;own;note",file,instruction\nx,a.mp4,Cut\n', {"file": "a.mp4", "extra": {"my;own;note": "x"}}),
        # A blank before a quote, columns in any case and in Chinese, empty columns at the end, a short row.
        (f'file, instruction\na.mp4, "{COMMA}"\n', {"instruction": COMMA}),
        (
            " FILE , 指令 ,Session,我的备注\na.mp4,Cut,talk,好\n",
            {"file": "a.mp4", "instruction": "Cut", "session": "talk", "extra": {"我的备注": "好"}},
        ),
        ("file,instruction,client,,\na.mp4,Cut,,,\n", {"extra": {"client": ""}}),
        ("file,instruction,client\nb.mp4,Fade\n", {"extra": {"client": ""}}),
    ],
)
def test_a_table_is_read_as_it_is_meant(text: str, told: dict[str, Any]) -> None:
    (row,) = rows(text)
    assert {name: getattr(row, name) for name in told} == told


def test_the_delimiter_is_told_from_the_header() -> None:
    for by, form in {",": "comma", ";": "semicolon", "\t": "tab"}.items():
        checked = check(f"file{by}id{by}instruction\na.mp4{by}b{by}{TRIM}")
        assert (checked.form, checked.rows[0].id, checked.rows[0].instruction) == (form, "b", TRIM[1:-1])


def test_a_default_skill_can_be_given_and_is_told_once_where_it_is_unknown() -> None:
    checked = check("instruction,skill\nAdd a title,\nAdd music,video-models\n", default_skill="ai-video-help")
    assert [row.skill for row in checked.rows] == ["ai-video-help", "video-models"]
    checked = check("instruction\nAdd a title\nAdd music\nFade out\n", default_skill="video-model")
    assert [str(fault) for fault in checked.faults] == [
        "line 2, skill: no skill has this name (found 'video-model'). Did you mean 'video-models'?"
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_whatever_ends_them_and_whatever_stands_in_quotes(end: str) -> None:
    lines = ["file,instruction", "", 'a.mp4,"Add the title', "", 'in two lines"', " , ", "b.mp4,Cut the pauses"]
    first, second = rows(end.join(lines))
    assert (first.line, first.number, second.line, second.number) == (3, 1, 7, 2)
    assert first.instruction == f"Add the title{end}{end}in two lines"


def test_the_users_columns_keep_their_names_and_their_order() -> None:
    checked = check("Zebra,file,instruction,Apple\nz,a.mp4,Cut,a\n")
    assert list(checked.rows[0].extra.items()) == [("Zebra", "z"), ("Apple", "a")]
    assert checked.columns == ("Zebra", "file", "instruction", "Apple")


@pytest.mark.parametrize("name", ["jobs.jsonl", "jobs.NDJSON", "stdin"])
def test_json_lines_are_told_by_name_or_by_their_first_character(name: str) -> None:
    told = {"file": "a.mp4", "instruction": "Cut", "references": ["x;y.png", " z.png "], "priority": 3, "n": [1, {}]}
    (row,) = rows(f"\n{json.dumps(told)}\r\n", name=name)
    assert (row.line, row.number, row.priority, row.references) == (2, 1, 3, ("x;y.png", "z.png"))
    assert row.extra == {"n": "[1, {}]"}


def test_json_rows_may_have_different_keys() -> None:
    lines = [{"file": "a.mp4", "instruction": "Cut"}, {"Instruction": "Fade", "client": "Aurora", "id": None}]
    checked = check("\n".join(map(json.dumps, lines)))
    assert checked.columns == ("file", "instruction", "client", "id")
    assert [(row.id, row.file, row.extra) for row in checked.rows] == [
        ("1", "a.mp4", {"client": ""}),
        ("2", "", {"client": "Aurora"}),
    ]


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
        *(("a.mp4", brings_nothing_home, "") for brings_nothing_home in ("", "upload", "show status", "credits")),
    ],
)
def test_a_result_is_named_after_its_row_and_its_file(file: str, instruction: str, output: str) -> None:
    (row,) = rows(json.dumps({"file": file, "instruction": instruction}))
    assert row.output == output


def test_a_file_is_looked_at_once_however_many_rows_name_it_and_an_address_never() -> None:
    shelf = Shelf()
    lines = "a.mp4,Cut,HTTP://example.com/b\nb.mp4,Fade,\nhttps://example.com/a.mp4,Cut,\n"
    assert check("file,instruction,references\n" + lines * 50, files=shelf).faults == ()
    assert shelf.asked == ["a.mp4", "b.mp4"]


def test_a_name_like_it_is_offered_for_the_first_missing_files_and_another_case_or_accent_for_all(
    tmp_path: Path,
) -> None:
    for name in ("beach.mp4", "e\u0301te\u0301.mp4"):
        (tmp_path / name).write_bytes(b"clip")
    files = LocalFiles(tmp_path)
    hints = [files.look(f"beach{number}.mp4").hint for number in range(60)]
    assert hints == ["Did you mean 'beach.mp4'?"] * 50 + [""] * 10
    assert files.look("Beach.MP4").hint == "Did you mean 'beach.mp4'?"
    assert files.look("\xe9t\xe9.mp4").hint == "Did you mean 'e\u0301te\u0301.mp4'?"


def test_a_file_is_refused_by_its_size_alone_and_a_pipe_without_being_opened(tmp_path: Path) -> None:
    for name, size in (("fits.mp4", 500 * 1024 * 1024), ("large.mp4", 500 * 1024 * 1024 + 1)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    names = ["fits.mp4", tmp_path / "fits.mp4", "large.mp4", "pipe.mp4", "loop.mp4"]
    (tmp_path / "jobs.csv").write_text("\n".join(["file,instruction", *(f"{name},Cut" for name in names)]))
    faults = checks.check_file(tmp_path / "jobs.csv", skills=SKILLS).faults
    assert [(fault.line, fault.message) for fault in faults] == [
        (4, "this file is over 500 MB"),
        (5, "this is not a regular file"),
        (6, "this file can't be read"),
    ]


@pytest.mark.parametrize(
    ("name", "refusal", "advice"),
    [
        ("none.csv", "there is no such manifest", "path"),
        ("", "the manifest is a folder", "folder"),
        ("loop.csv", "the manifest can't be read", "may read"),
        ("/dev/zero", "the manifest is over 100 MB", "several"),
    ],
)
def test_a_manifest_that_cannot_be_had_is_refused_with_advice_that_fits(
    tmp_path: Path, name: str, refusal: str, advice: str
) -> None:
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    with pytest.raises(ManifestError, match=refusal) as refused:
        checks.check_file(tmp_path / name, skills=SKILLS)
    assert advice in refused.value.advice
    assert "lines" not in refused.value.advice
    assert "these lines" in ManifestError.advice


KINDS: dict[str, list[bytes]] = {
    "a video or a sound": [
        *(b"\0\0\0\x18ftypmp42\0\0", b"\0\0\0\x08wide\0\0\0\0mdat"),
        *(b"\x1a\x45\xdf\xa3\x01", b"RIFF\x10\0\0\0AVI LIST"),
    ],
    "a sound": [b"RIFF\x10\0\0\0WAVEfmt ", b"ID3\x04\0\0"],
    "a picture": [b"\xff\xd8\xff\xe0\0\x10JFIF", b"\x89PNG\r\n\x1a\n\0\0", b"GIF89a\x01\0", b"RIFF\x10\0\0\0WEBPVP8 "],
    "a PDF document": [b"%PDF-1.7\n"],
    "an archive": [b"PK\x03\x04\x14\0\0\0clips/beach.mp4", b"\x1f\x8b\x08\0"],
    "": [  # a workbook
        b"PK\x03\x04\x14\0\0\0\0\0mimetypeapplication/vnd.oasis.opendocument.spreadsheet",
        b"PK\x03\x04\x14\0\0\0\0\0_rels/.rels" + b"\0" * 3000 + b"xl/workbook.xml",
    ],
}


@pytest.mark.parametrize(("found", "begins"), [(kind, head) for kind, heads in KINDS.items() for head in heads])
def test_a_file_of_another_kind_is_called_what_it_is_and_a_workbook_told_how_to_become_a_manifest(
    found: str, begins: bytes
) -> None:
    (fault,) = check(begins).faults
    message = "this is not a manifest" if found else "this is a workbook, not a CSV file"
    assert (fault.line, fault.message, fault.value) == (1, message, found)
    assert "CSV" in fault.hint
    assert ("Excel" in fault.hint) == ("CSV UTF-8" in fault.hint) == ("Save As" in fault.hint) == (not found)


def test_a_column_may_be_called_like_another_kind_of_file() -> None:
    for name in ("ID3", "GIF", "RIFF", "PK"):
        assert check(f"{name},instruction\nx,Add a title\n").faults == ()


@pytest.mark.parametrize(
    "line", ["[" * 100_000, '{"a": ' + "1" * 5000 + "}", '{"file": "a.mp4",}', "{'a': 1}", "{} {}"]
)
def test_a_line_that_is_not_json_is_told_in_plain_words(line: str) -> None:
    (fault,) = check(line, name="jobs.jsonl").faults
    assert fault.message == "this line is not JSON"
    hint = r"Each line must be one complete object, [a-z ]+(; this one is invalid from .+ on)?"
    assert re.fullmatch(hint, fault.hint)


def test_a_broken_profile_fails_the_rows_that_name_it_with_its_file_and_line_and_no_built_in_one_takes_its_place(
    tmp_path: Path,
) -> None:
    for name in ("mine", "video-models"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "SKILL.md").write_text(f"---\nname: {name}\nversion: 1.0\n---\n", encoding="utf-8")
    known = skills.load([tmp_path])
    data = "instruction,skill\nAdd a title,\nAdd music,mine\nFade out,ai-video-help\nCut,video-models\n"

    def told(default_skill: str) -> list[tuple[int, str]]:
        faults = check(data, known=known, default_skill=default_skill).faults
        assert {(fault.column, fault.message) for fault in faults} == {("skill", "this skill's profile is broken")}
        return [(fault.line, fault.value) for fault in faults]

    assert told("ai-video-help") == [(3, "mine"), (5, "video-models")]
    assert told("video-models") == [(2, "video-models"), (3, "mine"), (5, "video-models")]
    (fault,) = check("instruction,skill\nCut,mine\n", known=known).faults
    assert fault.hint.startswith(f"{tmp_path / 'mine' / 'SKILL.md'}: line 3: version is not text")


def test_a_faulty_manifest_raises_with_all_its_faults_and_warnings() -> None:
    checked = check("file,instruction,priority\na.mp4,Cut,x\nb.mp4,improve,y\nc.mp4,Fade,1\n")
    with pytest.raises(ManifestError) as refused:
        checked.rows_or_raise()
    assert ([fault.line for fault in refused.value.faults], len(refused.value.warnings)) == ([2, 3], 1)
    assert [row.file for row in checked.rows] == ["c.mp4"]


HEADER = "file,instruction,skill,session,references"
VAGUE = [
    *("make it better", "Please make the video look more professional!", "Improve this clip", "enhance"),
    *("do your magic", "优化一下", "请帮我把这个视频剪辑一下吧。", "改好看一点"),
]
NOT_VAGUE = [
    *("", "make it black and white", "Improve the contrast", "make it better: cut the pauses", "enhance the voice"),
    *("fix the white balance", "优化一下字幕的位置", "把声音调小一点"),
    "please " * 4 + "add captions to the clip, then make it better and fade it out over the last two seconds",
]


def test_an_instruction_is_vague_where_it_names_nothing() -> None:
    assert [instruction for instruction in VAGUE if not is_vague(instruction)] == []
    assert [instruction for instruction in NOT_VAGUE if is_vague(instruction)] == []


SWAP = "a.mp4,Swap the face,ai-video-face-swap"
NO_PHOTO = "this skill needs a reference photo"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        pytest.param(["a.mp4,,,talk,"], [], id="a file for a session needs no instruction"),
        pytest.param(["a.mp4,,,,"], ["2 this file is only uploaded"], id="a file for no session does"),
        pytest.param([f"{SWAP},talk,face.jpg", f"{SWAP},talk,"], [], id="a photo serves later rows of its session"),
        pytest.param([f"{SWAP},,face.jpg", f"{SWAP},,"], [f"3 {NO_PHOTO}"], id="and no row without a session"),
        pytest.param([f"{SWAP},one,face.jpg", f"{SWAP},two,"], [f"3 {NO_PHOTO}"], id="and no other session"),
        pytest.param([f"{SWAP},,song.mp3"], [f"2 {NO_PHOTO}"], id="a song is no photo"),
        pytest.param([f"{SWAP},,b.mp4"], [f"2 {NO_PHOTO}"], id="a clip is no photo"),
        pytest.param([f"{SWAP},,face.webp"], [], id="a picture is one"),
        pytest.param([f"{SWAP},,https://example.com/1"], [], id="what lies behind an address may be one"),
        pytest.param(["a.mkv,export,ai-video-face-swap,,"], [], id="an export needs no photo and no short clip"),
        pytest.param(["a.mp4,Cut the pauses,video-models,,"], [], id="a clip as long as its skill likes"),
        pytest.param(["https://example.com/a.mp4,Cut it,video-models,,"], [], id="an address has no length"),
        pytest.param(["a.png,Make it move,video-models,,", "a.mp3,Draw it,video-models,,"], [], id="neither is a clip"),
        pytest.param([",Generate a paper boat,,boat,", ",export,,boat,"], [], id="a generated clip can be exported"),
    ],
)
def test_rows_are_warned_of_what_may_be_meant_otherwise(lines: list[str], found: list[str]) -> None:
    checked = check("\n".join([HEADER, *lines]))
    assert checked.faults == ()
    assert [f"{fault.line} {fault.message}" for fault in checked.warnings] == found
