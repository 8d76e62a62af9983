"""Draws images for a result: the caption, in a font that this machine has, and a photo resized to fit."""

import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_FONT_PATHS: Final = (
    # Fonts with Chinese, Japanese and Korean characters come first: they have Latin letters as well.
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-sans-cjk-fonts/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/System/Library/Fonts/PingFang.ttc",
    "/System/Library/Fonts/Hiragino Sans GB.ttc",
    "/System/Library/Fonts/STHeiti Medium.ttc",
    "C:/Windows/Fonts/msyh.ttc",
    "C:/Windows/Fonts/simhei.ttf",
    "C:/Windows/Fonts/simsun.ttc",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
    "/System/Library/Fonts/Helvetica.ttc",
    "C:/Windows/Fonts/arial.ttf",
)
_MISSING_CHARACTER: Final = "\U0010fffe"
"""No font has this character, so it is drawn like any other that is missing."""
_MAX_LINES: Final = 3


def draw(text: str, width: int, height: int, to: Path) -> None:
    """Write a transparent image of this size, with the text in a dark band at the bottom."""
    size = max(10, min(width, height) // 18)
    font, caption = _choose_font(text, size)
    picture = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    lines = _fit(caption, font, width - size)
    top = height - round(size * (1.3 * len(lines) + 1))
    pen.rectangle((0, top, width, height), fill=(0, 0, 0, 160))
    for number, line in enumerate(lines):
        at = ((width - font.getlength(line)) / 2, top + size * (0.4 + 1.3 * number))
        pen.text(at, line, font=font, fill=(255, 255, 255, 255))
    picture.save(to, "PNG")


def fit_photo(path: Path, size: tuple[int, int], to: Path) -> None:
    """Write the first frame of a photo, in any format, resized to exactly this size."""
    with Image.open(path) as photo:
        photo.convert("RGB").resize(size).save(to, "PNG")


def drawable(text: str, font: Font) -> str:
    """The text, with each run of characters that the font lacks replaced by a note about what is missing.

    If most characters are missing, the rest would read as nonsense, and the note stands alone.
    """
    missing = sum(not _has(font, character) for character in text)
    if 2 * missing > len(text):
        return f"[{missing} characters that no font on this machine has]"
    runs = groupby(text, key=lambda character: None if _has(font, character) else _script(character))
    pieces = (_missing_note(script, list(run)) if script else "".join(run) for script, run in runs)
    return "".join(pieces).strip()


def _choose_font(text: str, size: int) -> tuple[Font, str]:
    """The first font that has all characters of the text, else the one that lacks the fewest; and what it can draw."""
    fonts = [*(_font(path, size) for path in _FONT_PATHS if Path(path).is_file()), _builtin(size)]
    best = min(fonts, key=lambda font: sum(not _has(font, character) for character in text))
    return best, drawable(text, best)


@cache
def _font(path: str, size: int) -> Font:
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


@cache
def _builtin(size: int) -> Font:
    return ImageFont.load_default(size)


def _has(font: Font, character: str) -> bool:
    if character.isspace():
        return True
    return bytes(font.getmask(character)) != _mask_of_missing(font)


@cache
def _mask_of_missing(font: Font) -> bytes:
    return bytes(font.getmask(_MISSING_CHARACTER))


def _script(character: str) -> str:
    return unicodedata.name(character, "UNNAMED").split()[0].split("-")[0]


def _missing_note(script: str, run: list[str]) -> str:
    name = script if script in {"CJK", "HANGUL", "HIRAGANA", "KATAKANA", "CYRILLIC", "ARABIC", "THAI"} else "other"
    return f" [{len(run)} {name} characters, no font here] "


def _fit(text: str, font: Font, width: float) -> list[str]:
    lines = list(_wrap(text, font, width))
    if len(lines) > _MAX_LINES:
        lines = [*lines[: _MAX_LINES - 1], lines[_MAX_LINES - 1][:-1].rstrip() + "…"]
    return lines


def _wrap(text: str, font: Font, width: float) -> Iterator[str]:
    """Split into lines that fit, at a space if there is one, else within the word, as in Chinese."""
    line = ""
    for character in " ".join(text.split()):
        if font.getlength(line + character) > width and line:
            head, space, tail = line.rpartition(" ")
            yield head if space else line
            line = tail if space else ""
        line += character
    yield line.strip()
