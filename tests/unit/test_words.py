"""The service's own words stay behind its door: each occurs in one module of ours."""

import ast
import re
from pathlib import Path

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

_QUOTED = re.compile(rf"['\"]({'|'.join(THEIRS)})['\"]")
"""Whatever else holds such a string need not be parsed."""


def _strings(text: str) -> set[str]:
    nodes = ast.walk(ast.parse(text))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_a_word_of_theirs_occurs_in_one_module() -> None:
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in OURS}
    strings = {name: _strings(text) for name, text in texts.items() if _QUOTED.search(text)}
    for word, module in THEIRS.items():
        assert [name for name, said in strings.items() if word in said] == [module], word
