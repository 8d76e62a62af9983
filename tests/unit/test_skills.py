"""The five profiles, the user's own, and what every request says of where it comes from."""

import re
from pathlib import Path

import pytest

from reelq import skills
from reelq.errors import SkillError

BUILT_IN = {"ai-video-face", "ai-video-face-swap", "video-object-ops", "ai-video-help", "video-models"}
WHOLE = "---\nname: mine\nversion: 1.2.0\ndescription: My own.\n---\n# Mine\n"


def profile(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / name / "SKILL.md"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_five_skills_are_there_with_their_advice_and_what_their_requests_say() -> None:
    loaded = skills.load()
    assert set(loaded) == BUILT_IN
    assert loaded.notes == ()
    assert {(skill.version, skill.prefers) for skill in loaded.values()} == {("1.0.0", ("mp4", "mov", "avi", "webm"))}
    assert all(skill.path.parent.name == name for name, skill in loaded.items())
    assert [name for name, skill in loaded.items() if skill.references == "photo"] == ["ai-video-face-swap"]
    assert (loaded["ai-video-help"].clip_seconds, loaded["video-models"].clip_seconds) == (60, 30)


def test_each_profile_shows_how_to_ask_in_english_and_in_chinese() -> None:
    for name, skill in skills.load().items():
        examples = [line for line in skill.body.splitlines() if line.startswith("- `")]
        chinese = [line for line in examples if re.search("[\u4e00-\u9fff]", line)]
        assert (len(chinese), len(examples) - len(chinese)) == (3, 3), name
        assert skill.body.startswith(f"# {name}\n")
        assert skill.description.endswith(".")


def test_a_folder_of_the_users_own_adds_a_skill_and_what_lies_beside_it_is_left_alone(tmp_path: Path) -> None:
    fields = "clip-seconds: 12\nprefers: [.MOV]\nmetadata: {a: [1, {b: c}]}\nallowed-tools: x\n"
    path = profile(tmp_path, WHOLE.replace("---\n#", f"{fields}---\n#"))
    profile(tmp_path, "", "notepad").write_bytes(
        b"\xef\xbb\xbf" + WHOLE.replace("mine", "notepad").replace("\n", "\r\n").encode()
    )
    (tmp_path / "README.md").write_text("Mine.")
    (tmp_path / "empty").mkdir()
    loaded = skills.load([tmp_path, tmp_path / "none"])
    mine = loaded["mine"]
    assert (mine.version, mine.clip_seconds, mine.prefers, mine.path) == ("1.2.0", 12, ("mov",), path)
    assert loaded["notepad"].version == "1.2.0"
    assert set(loaded) == BUILT_IN | {"mine", "notepad"}
    assert len(loaded) == len(BUILT_IN) + 2
    assert loaded.notes == ()


def test_a_skill_of_the_users_own_stands_in_for_a_built_in_one_with_a_note_and_a_broken_one_does_not_give_way(
    tmp_path: Path,
) -> None:
    path = profile(tmp_path, WHOLE.replace("mine", "video-models"))
    loaded = skills.load([tmp_path])
    (note,) = loaded.notes
    assert note.startswith(f"video-models: {path}")
    assert loaded["video-models"].version == "1.2.0"
    path.write_text(path.read_text().replace("1.2.0", "1.0"))
    loaded = skills.load([tmp_path])
    with pytest.raises(SkillError, match="line 3: version is not text"):
        loaded.named("video-models")
    assert loaded["video-models"].version == "1.0.0"  # who asks for the credits is asked for no skill


NO_NUMBER = "line 5: clip-seconds is not a whole number"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (WHOLE, "", "line 1: it does not start with front matter"),
        (WHOLE, "# Mine\n", "line 1: it does not start with front matter"),
        ("name: mine\n", "", "line 1: name is missing"),
        ("version: 1.2.0\n", "", "line 1: version is missing"),
        ("1.2.0", "1.0", "line 3: version is not text: write it in quotes, version: '1.0'"),
        ("mine", '"a\\r\\nX-Other: b"', "line 2: name goes into a header"),
        ("mine", "面孔", "line 2: name goes into a header"),
        ("1.2.0", "one two", "line 3: version goes into a header"),
        ("My own.", "[1]", "line 4: description is not text"),
        ("---\n#", "references: voice\n---\n#", "line 5: references must be 'photo'"),
        *(("---\n#", f"clip-seconds: {odd}\n---\n#", NO_NUMBER) for odd in ("long", "true", "0")),
        ("---\n#", "prefers: mp4\n---\n#", "line 5: prefers is not a list"),
        ("My own.", "a: b", "line 4: the front matter is not YAML"),
        ("My own.", "\x07", "the front matter is not YAML"),
        ("1.2.0", "2026-99-99", "the front matter is not YAML"),
    ],
)
def test_a_broken_profile_is_noted_with_its_file_and_its_line_and_fails_only_who_names_it(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    path = profile(tmp_path, WHOLE.replace(old, new))
    loaded = skills.load([tmp_path])
    (note,) = loaded.notes
    assert note.startswith(f"mine can't be used: {path}: ")
    assert said in note
    assert set(loaded) == BUILT_IN
    assert loaded.named("video-models").version == "1.0.0"
    with pytest.raises(SkillError) as refused:
        loaded.named("mine")
    assert str(refused.value) == note
    with pytest.raises(SkillError, match="No skill is named 'yours'"):
        loaded.named("yours")


def test_a_broken_profile_goes_by_the_name_it_gives_itself_where_it_is_text(tmp_path: Path) -> None:
    profile(tmp_path, "---\nname: yours\nversion: one two\n---\n")
    profile(tmp_path, "", "other").write_bytes(b"---\nname: \xff\n---\n")
    loaded = skills.load([tmp_path])
    assert set(loaded.broken) == {"yours", "other"}
    assert sum("not UTF-8 text" in note for note in loaded.notes) == 1


def test_two_profiles_of_one_name_in_one_folder_leave_neither(tmp_path: Path) -> None:
    profile(tmp_path, WHOLE, "one")
    profile(tmp_path, WHOLE, "two")
    loaded = skills.load([tmp_path])
    assert set(loaded) == BUILT_IN
    with pytest.raises(SkillError, match=r"two/SKILL\.md: the name 'mine' is also used by .*one/SKILL\.md"):
        loaded.named("mine")


def test_a_broken_built_in_profile_is_an_error(tmp_path: Path) -> None:
    path = profile(tmp_path, WHOLE.replace("1.2.0", "1.0"))
    with pytest.raises(SkillError) as refused:
        skills.load(built_in=tmp_path)
    assert str(refused.value).startswith(f"{path}: line 3: version")


def test_a_folder_that_cannot_be_read_counts_as_absent_with_a_note(tmp_path: Path) -> None:
    (loop := tmp_path / "loop").symlink_to(loop)  # even root can't read this one
    loaded = skills.load([loop])
    assert set(loaded) == BUILT_IN
    assert [note.startswith(f"{loop} can't be read: ") for note in loaded.notes] == [True]


def test_the_platform_is_told_by_the_folder_that_a_profile_really_lies_in(tmp_path: Path) -> None:
    def told(path: str) -> str:
        return skills.platform(tmp_path / path, None, tmp_path)

    assert told(".clawhub/skills/x/SKILL.md") == "clawhub"
    assert told(".cursor/skills/x/SKILL.md") == "cursor"
    assert told(".cursor/other/SKILL.md") == "unknown"
    assert told("elsewhere/.clawhub/SKILL.md") == "unknown"
    assert skills.platform(tmp_path / ".clawhub/x/SKILL.md", "shop", tmp_path) == "shop"
    (tmp_path / "link").symlink_to(profile(tmp_path / ".clawhub", WHOLE).parent)
    assert told("link/SKILL.md") == "clawhub"


def test_the_attribution_headers_come_from_the_profile() -> None:
    assert skills.headers(skills.load()["video-models"], "cursor") == {
        "X-Skill-Source": "video-models",
        "X-Skill-Version": "1.0.0",
        "X-Skill-Platform": "cursor",
    }
