"""What a manifest is warned of, and what it is not; sessions, whose rows serve each other."""

import pytest

from reelq.manifest.advice import is_vague
from tests.unit.shelf import check

HEADER = "file,instruction,skill,session,references"


def warnings(*lines: str) -> list[str]:
    checked = check("\n".join([HEADER, *lines]))
    assert checked.faults == ()
    return [f"{fault.line} {fault.message}" for fault in checked.warnings]


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
    assert warnings(*lines) == found
