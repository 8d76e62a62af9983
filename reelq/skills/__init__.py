"""The skills: profiles that give a request its attribution and know their own advice, each a SKILL.md file."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from reelq.errors import SkillError

_BUILT_IN: Final = Path(__file__).parent
_FILE: Final = "SKILL.md"
_HEADER_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_PLATFORMS: Final = ((Path(".clawhub"), "clawhub"), (Path(".cursor", "skills"), "cursor"))


@dataclass(frozen=True, slots=True)
class Skill:
    """One profile: who a request comes from, and what its rows are checked against."""

    name: str
    version: str
    description: str
    path: Path
    body: str
    """The guide for people: what it is for, how to ask, what it does badly."""
    references: str = ""
    """"photo" where it can't work without a reference photo."""
    clip_seconds: int | None = None
    """The length below which a clip goes well."""
    prefers: tuple[str, ...] = ()
    """The extensions that go smoothest."""


class Skills(Mapping[str, Skill]):
    """The profiles by name, and notes on those of the user's own that stand in for a built-in one."""

    def __init__(self, skills: Mapping[str, Skill], notes: Sequence[str] = ()) -> None:
        self._skills = MappingProxyType(dict(skills))
        self.notes = tuple(notes)

    def __getitem__(self, name: str) -> Skill:
        return self._skills[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._skills)

    def __len__(self) -> int:
        return len(self._skills)


def load(folders: Sequence[Path] = ()) -> Skills:
    """The built-in profiles, and those in the user's folders: each a folder with a SKILL.md, as in this package.

    Which folders those are is the caller's to say: a process passes `skills` in its data folder.
    """
    skills = _in_folder(_BUILT_IN)
    notes = []
    for folder in folders:
        for name, skill in _in_folder(folder).items():
            if name in skills:
                notes.append(f"{name}: {skill.path} stands in for {skills[name].path}")
            skills[name] = skill
    return Skills(skills, notes)


def platform(path: Path, skill_source: str | None, home: Path) -> str:
    """The platform that a profile was installed by: as told, else by the folder it lies in."""
    if skill_source:
        return skill_source
    # An installer may link the folder; the link and what it points to both say where it came from.
    places = (path.absolute(), path.resolve())
    for folder, name in _PLATFORMS:
        if any(place.is_relative_to(home / folder) for place in places):
            return name
    return "unknown"


def headers(skill: Skill, platform: str) -> dict[str, str]:
    """The attribution that every request carries; without it exports are refused."""
    return {"X-Skill-Source": skill.name, "X-Skill-Version": skill.version, "X-Skill-Platform": platform}


def _in_folder(folder: Path) -> dict[str, Skill]:
    skills: dict[str, Skill] = {}
    for path in sorted(folder.glob(f"*/{_FILE}")):
        skill = _read(path)
        if skill.name in skills:
            raise SkillError(f"{path}: the name {skill.name!r} is that of {skills[skill.name].path} too")
        skills[skill.name] = skill
    return skills


def _read(path: Path) -> Skill:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SkillError(f"{path}: it can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SkillError(f"{path}: it is not UTF-8 text (byte {error.start})") from None
    fields, body = _parse(path, text)
    return _Profile(path, text, fields).skill(body)


def _parse(path: Path, text: str) -> tuple[Mapping[str, object], str]:
    # The reader and its YAML are slow to import, and most processes read no profile.
    import frontmatter
    import yaml
    from frontmatter.default_handlers import YAMLHandler

    try:
        fields, body = frontmatter.parse(text, handler=YAMLHandler())
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise SkillError(f"{path}: {line}the front matter is not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SkillError(f"{path}: the front matter is not YAML: {error}") from None
    if not fields:
        raise SkillError(f"{path}: line 1: it does not begin with front matter (name, version, description)")
    return fields, body


class _Profile:
    """Front matter that is being made a skill; whatever is wrong with a field is told with the field's line."""

    def __init__(self, path: Path, text: str, fields: Mapping[str, Any]) -> None:
        self._path = path
        self._lines = text.splitlines()
        self._fields = fields

    def skill(self, body: str) -> Skill:
        """The skill these fields describe. Fields without a meaning here are left alone."""
        return Skill(
            name=self._header_text("name"),
            version=self._header_text("version"),
            description=self._text("description"),
            path=self._path,
            body=body,
            references=self._references(),
            clip_seconds=self._clip_seconds(),
            prefers=self._prefers(),
        )

    def _header_text(self, field: str) -> str:
        value = self._fields.get(field)
        if value is None:
            raise self._wrong(field, "is missing")
        if not isinstance(value, str):
            raise self._wrong(field, f"is not text: write it in quotes, {field}: '{value}'")
        if not _HEADER_SAFE.fullmatch(value):
            raise self._wrong(field, "goes into a header: letters, digits and . _ + - only, at most 64")
        return value

    def _text(self, field: str) -> str:
        value = self._fields.get(field, "")
        if not isinstance(value, str):
            raise self._wrong(field, "is not text")
        return " ".join(value.split())

    def _references(self) -> str:
        value = self._fields.get("references", "")
        if value not in ("", "photo"):
            raise self._wrong("references", "is not 'photo', the one kind of reference that can be asked for")
        return str(value)

    def _clip_seconds(self) -> int | None:
        value = self._fields.get("clip-seconds")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise self._wrong("clip-seconds", "is not a whole number of seconds")
        return value

    def _prefers(self) -> tuple[str, ...]:
        value = self._fields.get("prefers", [])
        if not isinstance(value, list) or not all(isinstance(extension, str) for extension in value):
            raise self._wrong("prefers", "is not a list of extensions, such as [mp4, mov]")
        return tuple(extension.removeprefix(".").lower() for extension in value)

    def _wrong(self, field: str, what: str) -> SkillError:
        line = next((n for n, line in enumerate(self._lines, 1) if line.startswith(f"{field}:")), 1)
        return SkillError(f"{self._path}: line {line}: {field} {what}")
