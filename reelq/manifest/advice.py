"""Advice on rows that can run: what is likely to cost credits and please nobody."""

import re
from collections.abc import Mapping
from typing import Final

from reelq.job import Route
from reelq.manifest.files import Facts, Files, is_url
from reelq.manifest.findings import Findings, Place
from reelq.manifest.row import Row
from reelq.media import Kind, extension_of, kind_of
from reelq.skills import Skill

_LONG: Final = 2000
_VAGUE: Final = re.compile(
    r"(please |pls |can you |just )*"
    r"((make|do|get) (it|this|that|(the|this|my) (video|clip|footage))"
    r"( look| be| a bit| a little| much| more| really)*"
    r" (better|good|great|nice|nicer|cool|cooler|awesome|amazing|pretty|beautiful|perfect|professional|pro|pop)"
    r"|(improve|enhance|fix|edit|optimi[sz]e|beautify|polish|process|upgrade)"
    r"( it| this| that| (the|this|my) (video|clip|footage))?( up)?|do your (best|magic|thing)|surprise me)"
    r"( please| pls)?",
)
_VAGUE_CHINESE: Final = re.compile(
    r"(请|帮我|麻烦|把)*(这个|这段|该|我的)?(视频|影片|片子|它)?(给我)?"
    r"(优化|美化|处理|编辑|剪辑|修改|改进|提升|修|弄|做|剪|改|变)(得|的)?(更|好看|漂亮|专业|好)*(一点|点|一些|些|一下|下)?(吧|谢谢)*"
)
_PUNCTUATION: Final = re.compile(r"[\s.,;:!?。，；：！？、~…]+")


class Advice:
    """Goes along the rows in order, and warns of those that a person would think over."""

    def __init__(self, files: Files, skills: Mapping[str, Skill], findings: Findings) -> None:
        self._files = files
        self._skills = skills
        self._findings = findings
        self._photographed: set[str] = set()
        self._seconds: dict[str, float | None] = {}

    def add(self, row: Row, facts: Facts | None) -> None:
        """Consider one row; `facts` are those of its file, if it has a sound one."""
        at = Place(row.line, row.number)
        self._instruction(at, row)
        skill = self._skills.get(row.skill)
        if skill is not None and row.route is Route.EDIT:
            self._photo(at, row, skill)
            if facts is not None:
                self._clip(at, row, skill, facts)

    def _instruction(self, at: Place, row: Row) -> None:
        given = row.file or ", ".join(row.references)
        if given and row.route is Route.UPLOAD and not row.session:
            hint = "Say in the column instruction what to do with it"
            self._findings.warn(at, "instruction", "this file is only uploaded", given, hint)
        if len(row.instruction) > _LONG:
            hint = "Steps in rows of one session are followed better, each with a result to look at"
            self._findings.warn(at, "instruction", "this instruction is very long", row.instruction, hint)
        elif is_vague(row.instruction):
            hint = "Say what to change and how: “warmer colours, cut the pauses, white captions at the bottom”"
            self._findings.warn(at, "instruction", "this instruction is vague", row.instruction, hint)

    def _photo(self, at: Place, row: Row, skill: Skill) -> None:
        """A photo serves every later row of its session."""
        if any(_may_be_a_photo(name) for name in row.references):
            self._photographed.add(row.session)
        elif skill.references == "photo" and (not row.session or row.session not in self._photographed):
            hint = "Name it in the column references"
            self._findings.warn(at, "references", "this skill needs a reference photo", skill.name, hint)

    def _clip(self, at: Place, row: Row, skill: Skill, facts: Facts) -> None:
        if kind_of(facts.name) is not Kind.VIDEO:
            return
        extension = extension_of(facts.name)
        if skill.prefers and extension not in skill.prefers:
            hint = f"{skill.name} goes smoothest with {' '.join(skill.prefers)}"
            self._findings.warn(at, "file", "this skill works better with another type of file", row.file, hint)
        seconds = self._length(row.file) if skill.clip_seconds and not is_url(row.file) else None
        if seconds and skill.clip_seconds and seconds > skill.clip_seconds:
            hint = f"It plays {seconds:.0f} s; {skill.name} is best under {skill.clip_seconds} s"
            self._findings.warn(at, "file", "this clip is longer than its skill likes", row.file, hint)

    def _length(self, name: str) -> float | None:
        if name not in self._seconds:
            self._seconds[name] = self._files.seconds(name)
        return self._seconds[name]


def is_vague(instruction: str) -> bool:
    """Whether an instruction asks for an improvement and does not say which."""
    words = _PUNCTUATION.sub(" ", instruction.lower()).strip()
    if len(words) > 80:
        return False
    return bool(_VAGUE.fullmatch(words) or _VAGUE_CHINESE.fullmatch(words.replace(" ", "")))


def _may_be_a_photo(name: str) -> bool:
    """A URL or an asset can be a photo whatever it is called."""
    return kind_of(name) in (Kind.IMAGE, None)
