"""Lines on logarithmic axes, as SVG: enough for what grows with the number of rows."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

Points = Sequence[tuple[float, float]]

_COLOURS: Final = (
    "#1b6ca8", "#c8553d", "#588157", "#8e5ea2", "#b58900", "#2a9d8f", "#6c757d", "#d62976", "#3a3a3a", "#7cb518",
)  # fmt: skip
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _RIGHT = 800, 400, 70, 40, 50, 290


def plot(title: str, across: str, up: str, lines: Mapping[str, Points]) -> str:
    """A picture of these lines; points at or below zero have no place on it."""
    good = {name: [(x, y) for x, y in points if x > 0 and y > 0] for name, points in lines.items()}
    good = {name: points for name, points in good.items() if points}
    everywhere = [point for points in good.values() for point in points] or [(1.0, 1.0)]
    axes = _Axes([x for x, _ in everywhere], [y for _, y in everywhere])
    parts = [_text(_LEFT, 22, title, "start", 15), *axes.drawn(across, up)]
    for number, (name, points) in enumerate(good.items()):
        parts += _line(axes, name, sorted(points), number)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>", ""])


class _Axes:
    """From numbers to places, by their logarithms."""

    def __init__(self, across: Sequence[float], up: Sequence[float]) -> None:
        self._across = _decades(across)
        self._up = _decades(up)

    def x(self, value: float) -> float:
        first, last = self._across
        return _LEFT + (math.log10(value) - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        first, last = self._up
        return _HEIGHT - _BOTTOM - (math.log10(value) - first) / (last - first) * (_HEIGHT - _TOP - _BOTTOM)

    def drawn(self, across: str, up: str) -> list[str]:
        parts = [_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 10, across, "middle")]
        parts.append(f'<g transform="rotate(-90 16 {_HEIGHT / 2})">{_text(16, _HEIGHT / 2, up, "middle")}</g>')
        for power in range(self._across[0], self._across[1] + 1):
            at = self.x(10.0**power)
            parts += [_rule(at, _TOP, at, _HEIGHT - _BOTTOM), _text(at, _HEIGHT - _BOTTOM + 16, _said(power), "middle")]
        for power in range(self._up[0], self._up[1] + 1):
            at = self.y(10.0**power)
            parts += [_rule(_LEFT, at, _WIDTH - _RIGHT, at), _text(_LEFT - 6, at + 4, _said(power), "end")]
        return parts


def _decades(values: Sequence[float]) -> tuple[int, int]:
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return first, max(last, first + 1)


def _said(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"


def _line(axes: _Axes, name: str, points: Points, number: int) -> list[str]:
    colour = _COLOURS[number % len(_COLOURS)]
    places = [(axes.x(x), axes.y(y)) for x, y in points]
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
    at = _TOP + 18 * number
    key = f'<rect x="{_WIDTH - _RIGHT + 14}" y="{at - 9}" width="12" height="12" fill="{colour}"/>'
    line = f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>'
    return [line, *dots, key, _text(_WIDTH - _RIGHT + 32, at + 1, name, "start")]


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#dddddd"/>'


def _text(x: float, y: float, words: str, anchor: str, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(words)}</text>'
