"""What a manifest is warned of, and what it is not; sessions, whose rows serve each other."""

import pytest

from reelq import manifest, skills
from reelq.manifest import Checked, Facts
from reelq.manifest.advice import is_vague

SKILLS = skills.load()


class Shelf:
    """Files that are all there, and play half a minute."""

    def look(self, name: str) -> Facts:
        return Facts(name, 1000)

    def seconds(self, name: str) -> float | None:
        assert not name.startswith("http")
        return 30.0


def check(*lines: str) -> Checked:
    text = "\n".join(["file,instruction,skill,session,references", *lines])
    return manifest.check(text.encode(), name="jobs.csv", files=Shelf(), skills=SKILLS)


def warnings(*lines: str) -> list[str]:
    checked = check(*lines)
    assert checked.faults == ()
    return [f"{fault.line} {fault.message}" for fault in checked.warnings]


@pytest.mark.parametrize(
    "instruction",
    [
        "make it better",
        "Please make the video look more professional!",
        "Improve this clip",
        "enhance",
        "do your magic",
        "优化一下",
        "请帮我把这个视频剪辑一下吧。",
        "改好看一点",
    ],
)
def test_an_instruction_that_says_nothing_is_vague(instruction: str) -> None:
    assert is_vague(instruction)


@pytest.mark.parametrize(
    "instruction",
    [
        "",
        "make it black and white",
        "Improve the contrast",
        "make it better: cut the pauses",
        "enhance the voice",
        "fix the white balance",
        "优化一下字幕的位置",
        "把声音调小一点",
        "please " * 4 + "add captions to the clip, then make it better and fade it out over the last two seconds",
    ],
)
def test_an_instruction_that_names_something_is_not_vague(instruction: str) -> None:
    assert not is_vague(instruction)


def test_a_file_uploaded_for_a_session_needs_no_instruction() -> None:
    assert warnings("a.mp4,,,talk,", "b.mp4,,,,") == ["3 this file is only uploaded"]


def test_the_photo_of_a_face_swap_serves_the_later_rows_of_its_session() -> None:
    swap = "a.mp4,Swap the face,ai-video-face-swap"
    assert warnings(f"{swap},talk,face.jpg", f"{swap},talk,") == []
    assert warnings(f"{swap},,face.jpg", f"{swap},,") == ["3 this skill needs a reference photo"]
    assert warnings(f"{swap},one,face.jpg", f"{swap},two,") == ["3 this skill needs a reference photo"]


@pytest.mark.parametrize(
    ("reference", "needs"),
    [("song.mp3", True), ("b.mp4", True), ("face.webp", False), ("https://example.com/1", False)],
)
def test_a_reference_counts_as_a_photo_where_it_can_be_one(reference: str, needs: bool) -> None:
    found = warnings(f"a.mp4,Swap the face,ai-video-face-swap,,{reference}")
    assert found == (["2 this skill needs a reference photo"] if needs else [])


def test_an_export_needs_no_photo_and_no_short_clip() -> None:
    assert warnings("a.mkv,export,ai-video-face-swap,,") == []


def test_a_clip_as_long_as_its_skill_likes_is_no_matter() -> None:
    assert warnings("a.mp4,Cut the pauses,video-models,,") == []


def test_the_length_of_an_address_is_not_asked_for() -> None:
    assert warnings("https://example.com/a.mp4,Cut the pauses,video-models,,") == []


def test_a_photo_or_a_song_is_not_judged_as_a_clip() -> None:
    assert warnings("a.png,Make it move slowly,video-models,,", "a.mp3,Draw its waves,video-models,,") == []


def test_a_clip_generated_in_a_session_can_be_exported() -> None:
    assert warnings(",Generate a paper boat,,boat,", ",export,,boat,") == []


def test_an_export_before_anything_else_of_its_session_has_nothing() -> None:
    checked = check(",export,,boat,", ",Generate a paper boat,,boat,", ",show credits,,boat,")
    assert [(fault.line, fault.message) for fault in checked.faults] == [(2, "there is nothing to export or to show")]


def test_reading_the_balance_puts_nothing_into_a_session() -> None:
    checked = check(",credits,,boat,", ",export,,boat,")
    assert [fault.line for fault in checked.faults] == [3]
