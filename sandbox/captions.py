"""What Pillow draws for a result: the caption, with whatever font this machine has, and a photo made to fit."""

import unicodedata
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Iterator

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_WELL_KNOWN: Final = (
    # Fonts with Chinese, Japanese and Korean characters first: they have the Latin ones as well.
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
_NEVER_DRAWN: Final = "\U0010fffe"
"""No font has it: what is drawn for it is what is drawn for anything that is missing."""
_MOST_LINES: Final = 3


def draw(text: str, width: int, height: int, to: Path) -> None:
    """A transparent picture of this size, the text in a dark band at its foot."""
    size = max(10, min(width, height) // 18)
    font, words = _lettering(text, size)
    picture = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    lines = _fit(words, font, width - size)
    top = height - round(size * (1.3 * len(lines) + 1))
    pen.rectangle((0, top, width, height), fill=(0, 0, 0, 160))
    for number, line in enumerate(lines):
        at = ((width - font.getlength(line)) / 2, top + size * (0.4 + 1.3 * number))
        pen.text(at, line, font=font, fill=(255, 255, 255, 255))
    picture.save(to, "PNG")


def fit_photo(path: Path, size: tuple[int, int], to: Path) -> None:
    """A photo's first picture, whatever its format, in just this size."""
    with Image.open(path) as photo:
        photo.convert("RGB").resize(size).save(to, "PNG")


def drawable(text: str, font: "Font") -> str:
    """The text with each run of characters that the font lacks replaced by a word on what is missing.

    Of a text that is mostly such runs the little that is left would read as nonsense: there the word stands alone.
    """
    missing = sum(not _has(font, character) for character in text)
    if 2 * missing > len(text):
        return f"[{missing} characters that no font on this machine has]"
    runs = groupby(text, key=lambda character: None if _has(font, character) else _script(character))
    said = (_missing(script, list(run)) if script else "".join(run) for script, run in runs)
    return "".join(said).strip()


def _lettering(text: str, size: int) -> "tuple[Font, str]":
    """The first font that has all of the text, else the one that lacks the least of it."""
    fonts = [_font(path, size) for path in _installed()] + [_builtin(size)]
    best = min(fonts, key=lambda font: sum(not _has(font, character) for character in text))
    return best, drawable(text, best)


@cache
def _installed() -> tuple[str, ...]:
    return tuple(path for path in _WELL_KNOWN if Path(path).is_file())


@cache
def _font(path: str, size: int) -> "Font":
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


@cache
def _builtin(size: int) -> "Font":
    return ImageFont.load_default(size)


def _has(font: "Font", character: str) -> bool:
    if character.isspace():
        return True
    return bytes(font.getmask(character)) != _mask_of_missing(font)


@cache
def _mask_of_missing(font: "Font") -> bytes:
    return bytes(font.getmask(_NEVER_DRAWN))


def _script(character: str) -> str:
    return unicodedata.name(character, "UNNAMED").split()[0].split("-")[0]


def _missing(script: str, run: list[str]) -> str:
    known = script if script in {"CJK", "HANGUL", "HIRAGANA", "KATAKANA", "CYRILLIC", "ARABIC", "THAI"} else "other"
    return f" [{len(run)} {known} characters, no font here] "


def _fit(text: str, font: "Font", width: float) -> list[str]:
    lines = list(_wrap(text, font, width))
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], lines[_MOST_LINES - 1][:-1].rstrip() + "…"]
    return lines


def _wrap(text: str, font: "Font", width: float) -> "Iterator[str]":
    """Lines that fit, broken at a space where there is one, else within the word, as Chinese is."""
    line = ""
    for character in " ".join(text.split()):
        if font.getlength(line + character) > width and line:
            head, space, tail = line.rpartition(" ")
            yield head if space else line
            line = tail if space else ""
        line += character
    yield line.strip()
