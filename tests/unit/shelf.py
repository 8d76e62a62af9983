"""A manifest checked beside files that are all there."""

from reelq import skills
from reelq.manifest import checks
from reelq.manifest.checks import Checked
from reelq.manifest.inputs import Facts

SKILLS = skills.load()


class Shelf:
    """Files that are all there, noted when they are looked at; each plays half a minute."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def look(self, name: str) -> Facts:
        self.asked.append(name)
        return Facts(name, 1000)

    def seconds(self, name: str) -> float | None:
        assert not name.startswith("http")
        return 30.0


def check(
    data: str | bytes,
    *,
    name: str = "jobs.csv",
    files: Shelf | None = None,
    known: skills.Skills = SKILLS,
    default_skill: str = "video-models",
) -> Checked:
    body = data.encode() if isinstance(data, str) else data
    return checks.check(body, name=name, files=files or Shelf(), skills=known, default_skill=default_skill)
