"""Lines on logarithmic axes, as SVG: enough for what grows with the number of rows."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

Points = Sequence[tuple[float, float]]

_COLOURS: Final = (
    "#1b6ca8", "#c8553d", "#588157", "#8e5ea2", "#b58900", "#2a9d8f", "#6c757d", "#d62976", "#3a3a3a", "#7cb518",
)  # fmt: skip
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 510, 40, 350


def plot(title: str, across: str, up: str, lines: Mapping[str, Points]) -> str:
    """A picture of these lines; points at or below zero have no place on it."""
    good = {name: sorted((x, y) for x, y in points if x > 0 and y > 0) for name, points in lines.items()}
    everywhere = [point for points in good.values() for point in points] or [(1.0, 1.0)]
    horizontal = _Axis([x for x, _ in everywhere], _LEFT, _RIGHT)
    vertical = _Axis([y for _, y in everywhere], _BOTTOM, _TOP)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 400" font-family="sans-serif">',
        '<rect width="100%" height="100%" fill="white"/>',
        _text(_LEFT, 22, title, "start", 15),
        _text((_LEFT + _RIGHT) / 2, 390, across, "middle"),
        f'<g transform="rotate(-90 16 200.0)">{_text(16, 200, up, "middle")}</g>',
    ]
    for words, at in horizontal.decades():
        parts += [_rule(at, _TOP, at, _BOTTOM), _text(at, _BOTTOM + 16, words, "middle")]
    for words, at in vertical.decades():
        parts += [_rule(_LEFT, at, _RIGHT, at), _text(_LEFT - 6, at + 4, words, "end")]
    for number, name in enumerate(name for name, points in good.items() if points):
        colour, key = _COLOURS[number % len(_COLOURS)], _TOP + 18 * number
        places = [(f"{horizontal.place(x):.1f}", f"{vertical.place(y):.1f}") for x, y in good[name]]
        way = " ".join(f"{x},{y}" for x, y in places)
        parts.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>' for x, y in places]
        parts.append(f'<rect x="{_RIGHT + 14}" y="{key - 9}" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(_RIGHT + 32, key + 1, name, "start"))
    return "\n".join([*parts, "</svg>", ""])


class _Axis:
    """From numbers to places, by their logarithms."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._start, self._length = start, end - start
        self._first = math.floor(math.log10(min(values)))
        self._last = max(math.ceil(math.log10(max(values))), self._first + 1)

    def place(self, value: float) -> float:
        return self._start + (math.log10(value) - self._first) / (self._last - self._first) * self._length

    def decades(self) -> list[tuple[str, float]]:
        powers = range(self._first, self._last + 1)
        return [(f"{10**power:,}" if power >= 0 else f"{10.0**power:g}", self.place(10.0**power)) for power in powers]


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#dddddd"/>'


def _text(x: float, y: float, words: str, anchor: str, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(words)}</text>'
