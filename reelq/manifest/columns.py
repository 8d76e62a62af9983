"""A manifest's columns: their names, their Chinese names, and what an unknown one may have been meant to be."""

import difflib
from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

COLUMNS: Final = ("file", "instruction", "id", "references", "skill", "language", "session", "priority", "output")
"""The columns with a meaning, in the order in which they are explained; any other is the user's own."""

CHINESE: Final = MappingProxyType(
    {
        "文件": "file",
        "指令": "instruction",
        "编号": "id",
        "参考": "references",
        "技能": "skill",
        "语言": "language",
        "会话": "session",
        "优先级": "priority",
        "输出": "output",
    }
)
"""The same columns, as a Chinese spreadsheet may head them."""

_NAMES: Final = {name: name for name in COLUMNS} | dict(CHINESE)
_OTHER_WORDS: Final = {
    "video": "file",
    "clip": "file",
    "path": "file",
    "filename": "file",
    "prompt": "instruction",
    "text": "instruction",
}
_LIKENESS: Final = 0.8  # "fil" is meant to be "file"; "title" and "version" are words of their own


def column_of(header: str) -> str | None:
    """The column that a header cell names, whatever its case; None for a column of the user's own."""
    return _NAMES.get(header.lower())


def meant_by(header: str) -> str | None:
    """The column that an unknown header was probably meant to name."""
    word = header.lower()
    if word in _OTHER_WORDS:
        return _OTHER_WORDS[word]
    return nearest(word, COLUMNS, _LIKENESS)


def nearest(word: str, words: Sequence[str], likeness: float = 0.6) -> str | None:
    """The word that this one is most like, if any is like it."""
    return next(iter(difflib.get_close_matches(word, words, n=1, cutoff=likeness)), None)
