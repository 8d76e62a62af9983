"""The service's own words stay behind its door: each occurs in one module of ours."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = sorted(path for folder in ("reelq", "worker", "api") for path in (ROOT / folder).rglob("*.py"))
THEIRS = {
    "sg": "reelq/remote/draft.py",
    "tt": "reelq/remote/draft.py",
    "sessionId": "reelq/remote/wire.py",
    "completed": "reelq/remote/wire.py",
    "outputUrl": "reelq/remote/wire.py",
    "functionCall": "reelq/remote/sse.py",
    "stateDelta": "reelq/remote/sse.py",
}


def _strings(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.mark.parametrize(("word", "module"), THEIRS.items())
def test_a_word_of_theirs_occurs_in_one_module(word: str, module: str) -> None:
    assert [str(path.relative_to(ROOT)) for path in OURS if word in _strings(path)] == [module]
