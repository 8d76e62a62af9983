"""Whatever bytes a manifest is made of, it is read or refused; and what was written is what is read."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelq.errors import ManifestError
from reelq.manifest import checks
from reelq.manifest.checks import Checked
from reelq.manifest.inputs import LocalFiles
from tests.unit.shelf import SKILLS, check

HEADER = ["id", "file", "instruction", "客户"]

cells = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20)
paragraphs = st.text(st.characters(exclude_categories=("Cc", "Cs")) | st.sampled_from("\n\r\t,;\"'"), max_size=30)
chinese = st.text("把视频调亮一点加上字幕，。删除停顿 ,;\"'abc", max_size=30)


def table(texts: list[tuple[str, str]]) -> list[list[str]]:
    return [[f"row{number}", "a.mp4", text, own] for number, (text, own) in enumerate(texts)]


def written(rows: list[list[str]], delimiter: str, quoting: int, end: str) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerows([HEADER, *rows])
    return text.getvalue()


def read_back(checked: Checked) -> list[list[str]]:
    assert checked.faults == ()
    return [[row.id, row.file, row.instruction, row.extra["客户"]] for row in checked.rows]


def stripped(rows: list[list[str]]) -> list[list[str]]:
    return [[cell.strip() for cell in row] for row in rows]


def is_sound(checked: Checked) -> None:
    """What holds of the outcome of any check."""
    assert checked.rows or checked.faults
    for finding in (*checked.faults, *checked.warnings):
        assert finding.line >= 1
        assert finding.message
        assert len(finding.value) <= 60
    for row in checked.rows:
        for text in (row.id, row.file, row.instruction, row.session, row.output, *row.references, *row.extra.values()):
            assert "\0" not in text
            text.encode()


FRAGMENTS = [
    *("file", "instruction", "output", "references", "id", "skill", "session", "export", "a.mp4", "..", "/", "CON"),
    *(",", ";", "\t", "\n", "\r", '"', "sep=;", " ", "\0", "\ufeff", "\u2028", "\x85", "\x1f", "优化", "x" * 300),
    *('{"file":', '"a.mp4"}', "{", "}", "[", "]", ":", "\\ud800", "1e999", "NaN", "C:\\", "http://", "::", "[::1"),
]  # fmt: skip


awkward = st.builds(
    lambda header, pieces, encoding: (header + "".join(pieces)).encode(encoding),
    st.sampled_from(["", "file,instruction,output,references\n", '{"file": "a.mp4"}\n']),
    st.lists(st.sampled_from(FRAGMENTS) | cells, max_size=20),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "gb18030"]),
)


@given(data=st.binary(max_size=300) | awkward, name=st.sampled_from(["jobs.csv", "jobs.jsonl", ""]))
def test_no_bytes_whatever_make_a_check_raise(data: bytes, name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    checked = check(data, name=name)
    is_sound(checked)
    is_sound(checks.check(data, name="x", files=LocalFiles(tmp_path_factory.getbasetemp()), skills=SKILLS))
    if checked.faults:
        with pytest.raises(ManifestError):
            checked.rows_or_raise()


texts_of_cells = st.lists(st.tuples(cells, cells), min_size=1, max_size=6)
texts_of_paragraphs = st.lists(st.tuples(paragraphs, cells), min_size=1, max_size=6)
texts_in_chinese = st.lists(st.tuples(chinese, chinese), min_size=1, max_size=6)


@given(
    texts=texts_of_paragraphs,
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    mark=st.sampled_from(["", "\ufeff"]),
    encoding=st.sampled_from(["utf-8", "utf-16-le", "utf-16-be"]),
)
def test_any_table_is_read_as_it_was_written(
    texts: list[tuple[str, str]], delimiter: str, end: str, mark: str, encoding: str
) -> None:
    rows = table(texts)
    checked = check((mark + written(rows, delimiter, csv.QUOTE_ALL, end)).encode(encoding))
    assert read_back(checked) == stripped(rows)


@given(
    given_texts=st.tuples(texts_of_cells, st.just("utf-8")) | st.tuples(texts_in_chinese, st.just("gb18030")),
    delimiter=st.sampled_from(",;\t"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
)
def test_quotes_may_be_left_out_where_they_are_not_needed_also_by_a_chinese_spreadsheet(
    given_texts: tuple[list[tuple[str, str]], str], delimiter: str, quoting: int
) -> None:
    texts, encoding = given_texts
    rows = table(texts)
    assert read_back(check(written(rows, delimiter, quoting, "\r\n").encode(encoding))) == stripped(rows)


@given(texts=st.lists(st.tuples(paragraphs, paragraphs), min_size=1, max_size=6), ascii_only=st.booleans())
def test_json_lines_are_read_as_they_were_written(texts: list[tuple[str, str]], ascii_only: bool) -> None:
    rows = table(texts)
    lines = [json.dumps(dict(zip(HEADER, row, strict=True)), ensure_ascii=ascii_only) for row in rows]
    checked = check("\n".join(lines), name="jobs.jsonl")
    assert read_back(checked) == stripped(rows)
    assert [row.line for row in checked.rows] == list(range(1, len(rows) + 1))


@given(texts=texts_of_paragraphs, end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_a_fault_names_the_line_on_which_its_row_begins(texts: list[tuple[str, str]], end: str) -> None:
    rows = table(texts)
    before = written(rows, ",", csv.QUOTE_ALL, end)
    (fault,) = check((before + f",ftp://a,Cut{end}").encode()).faults
    assert fault.line == sum(1 for _ in io.StringIO(before, newline="")) + 1
    assert fault.row == len(rows) + 1
