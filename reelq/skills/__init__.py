"""Skill profiles, each a SKILL.md file: they give requests their attribution, and users advice for their rows."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from reelq.errors import SkillError

BUILT_IN: Final = Path(__file__).parent
_FILE: Final = "SKILL.md"
_HEADER_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_PLATFORMS: Final = ((Path(".clawhub"), "clawhub"), (Path(".cursor", "skills"), "cursor"))


@dataclass(frozen=True, slots=True)
class Skill:
    """A profile: the attribution of requests, and what its rows are checked against."""

    name: str
    version: str
    description: str
    path: Path
    body: str
    """The guide for users: what the skill is for, how to write instructions, what it does badly."""
    references: str = ""
    """"photo" if the skill needs a reference photo."""
    clip_seconds: int | None = None
    """Clips shorter than this work well."""
    prefers: tuple[str, ...] = ()
    """The file extensions that work best."""


class Skills(Mapping[str, Skill]):
    """The profiles by name, the errors of broken ones, and notes for the user."""

    def __init__(
        self, skills: Mapping[str, Skill], notes: Sequence[str] = (), broken: Mapping[str, str] | None = None
    ) -> None:
        self._skills = MappingProxyType(dict(skills))
        self.notes = tuple(notes)
        self.broken = MappingProxyType(dict(broken or {}))
        """Why a user's own profile can't be used, with its file and line, by name.

        A name can be both here and among the skills. It then belongs to a built-in skill too. That one is used for rows
        that name no skill, but it must not silently replace the user's own.
        """

    def named(self, name: str) -> Skill:
        """The skill that a user asks for by name. Raises SkillError with the reason if it is not available."""
        if name in self.broken:
            raise SkillError(_unusable(name, self.broken[name]))
        if name not in self._skills:
            raise SkillError(f"No skill is named {name!r}")
        return self._skills[name]

    def __getitem__(self, name: str) -> Skill:
        return self._skills[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._skills)

    def __len__(self) -> int:
        return len(self._skills)


def load(folders: Sequence[Path] = (), *, built_in: Path = BUILT_IN) -> Skills:
    """Load the built-in profiles and those in the user's folders: each is a folder with a SKILL.md, as in this package.

    A process passes the `skills` folder of its data folder. Errors there become notes, so that a bad file does not stop
    users who don't need it. A broken built-in profile raises SkillError.
    """
    try:
        skills = {skill.name: skill for skill in map(_read_profile, _profiles(built_in))}
    except _BrokenProfile as error:
        raise SkillError(str(error)) from None
    notes: list[str] = []
    broken: dict[str, str] = {}
    for folder in folders:
        own, folder_notes, folder_broken = _users_own(folder)
        notes += folder_notes
        broken = {name: why for name, why in broken.items() if name not in own} | folder_broken
        notes += [f"{name}: {own[name].path} replaces {skills[name].path}" for name in own if name in skills]
        skills |= own
    return Skills(skills, [*notes, *(_unusable(name, why) for name, why in broken.items())], broken)


def platform(path: Path, skill_source: str | None, home: Path) -> str:
    """The platform that installed a profile: `skill_source` if it is given, else determined by the folder."""
    if skill_source:
        return skill_source
    # An installer may link the folder: both the link and its target show the platform.
    locations = (path.absolute(), path.resolve())
    for folder, name in _PLATFORMS:
        if any(location.is_relative_to(home / folder) for location in locations):
            return name
    return "unknown"


def headers(skill: Skill, platform: str) -> dict[str, str]:
    """The attribution headers of every request; the service refuses exports without them."""
    return {"X-Skill-Source": skill.name, "X-Skill-Version": skill.version, "X-Skill-Platform": platform}


def _unusable(name: str, why: str) -> str:
    return f"{name} can't be used: {why}"


def _profiles(folder: Path) -> list[Path]:
    """The SKILL.md of each folder that has one."""
    return [path for entry in sorted(folder.iterdir()) if _may_exist(path := entry / _FILE)]


def _may_exist(path: Path) -> bool:
    try:
        path.lstat()
    except OSError as error:
        # One that can't be inspected counts as existing: reading it reports the reason.
        return not isinstance(error, FileNotFoundError | NotADirectoryError)
    return True


def _users_own(folder: Path) -> tuple[dict[str, Skill], list[str], dict[str, str]]:
    """The skills in a user's folder, notes on the folder, and the error of each broken profile."""
    try:
        paths = _profiles(folder)
    except (FileNotFoundError, NotADirectoryError):
        return {}, [], {}
    except OSError as error:
        return {}, [f"{folder} can't be read: {error.strerror}"], {}
    skills: dict[str, Skill] = {}
    broken: dict[str, str] = {}
    for path in paths:
        try:
            skill = _read_profile(path)
        except _BrokenProfile as error:
            broken[error.name] = str(error)
            continue
        if skill.name in skills:
            broken[skill.name] = f"{path}: the name {skill.name!r} is also used by {skills[skill.name].path}"
        skills[skill.name] = skill
    return {name: skill for name, skill in skills.items() if name not in broken}, [], broken


class _BrokenProfile(Exception):
    """A profile that is not a valid skill; `name` is the name it would have."""

    def __init__(self, path: Path, what: str, name: object = None) -> None:
        super().__init__(f"{path}: {what}")
        self.name = name if isinstance(name, str) and _HEADER_SAFE.fullmatch(name) else path.parent.name


def _read_profile(path: Path) -> Skill:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise _BrokenProfile(path, f"it can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise _BrokenProfile(path, f"it is not UTF-8 text (byte {error.start})") from None
    fields, body = _parse_front_matter(path, text)
    return _FrontMatter(path, text, fields).skill(body)


def _parse_front_matter(path: Path, text: str) -> tuple[Mapping[str, object], str]:
    # The parser and its YAML library are slow to import, and most processes read no profile.
    import frontmatter
    import yaml
    from frontmatter.default_handlers import YAMLHandler

    try:
        fields, body = frontmatter.parse(text, handler=YAMLHandler())
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise _BrokenProfile(path, f"{line}the front matter is not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _BrokenProfile(path, f"the front matter is not YAML: {error}") from None
    if not fields:
        raise _BrokenProfile(path, "line 1: it does not start with front matter (name, version, description)")
    return fields, body


class _FrontMatter:
    """Turns front matter into a skill; an error in a field is reported with the field's line."""

    def __init__(self, path: Path, text: str, fields: Mapping[str, Any]) -> None:
        self._path = path
        self._lines = text.splitlines()
        self._fields = fields

    def skill(self, body: str) -> Skill:
        """The skill that the fields describe. Unknown fields are ignored."""
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
            raise self._error_in(field, "is missing")
        if not isinstance(value, str):
            raise self._error_in(field, f"is not text: write it in quotes, {field}: '{value}'")
        if not _HEADER_SAFE.fullmatch(value):
            raise self._error_in(field, "goes into a header: only letters, digits and . _ + -, at most 64 characters")
        return value

    def _text(self, field: str) -> str:
        value = self._fields.get(field, "")
        if not isinstance(value, str):
            raise self._error_in(field, "is not text")
        return " ".join(value.split())

    def _references(self) -> str:
        value = self._fields.get("references", "")
        if value not in ("", "photo"):
            raise self._error_in("references", "must be 'photo'")
        return str(value)

    def _clip_seconds(self) -> int | None:
        value = self._fields.get("clip-seconds")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise self._error_in("clip-seconds", "is not a whole number of seconds")
        return value

    def _prefers(self) -> tuple[str, ...]:
        value = self._fields.get("prefers", [])
        if not isinstance(value, list) or not all(isinstance(extension, str) for extension in value):
            raise self._error_in("prefers", "is not a list of extensions, such as [mp4, mov]")
        return tuple(extension.removeprefix(".").lower() for extension in value)

    def _error_in(self, field: str, what: str) -> _BrokenProfile:
        line = next((n for n, line in enumerate(self._lines, 1) if line.startswith(f"{field}:")), 1)
        return _BrokenProfile(self._path, f"line {line}: {field} {what}", self._fields.get("name"))
