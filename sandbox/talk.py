"""What the agent says: descriptions, mixed with advice for a person at a screen."""

import random
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from sandbox.draft import TrackType

if TYPE_CHECKING:
    from sandbox.draft import Draft

TEMPORARY_ISSUE: Final = "I encountered a temporary issue. Please try again in a moment."

DID: Final = MappingProxyType(
    {
        "add_clip": ("I've placed your clip on the timeline.", "已将素材放入时间线。"),
        "add_text": ("I've added the text over the opening seconds.", "已为视频添加文字。"),
        "add_bgm": ("The background music now plays at {volume:.0%} volume.", "已添加背景音乐，音量为 {volume:.0%}。"),
        "trim": ("The clip is shorter now and the pauses are gone.", "已剪短视频，去掉了停顿。"),
        "remove_track": ("I've removed that track.", "已删除该轨道。"),
        "generate_video": ("Your new clip is generated and placed at the end.", "新片段已生成并放在末尾。"),
        "apply_effect": ("The look you asked for is applied to the whole clip.", "已将效果应用到整个视频。"),
    }
)

SCREEN: Final = (
    ("Click the Export button to save your video.", "点击“导出”按钮即可保存视频。"),
    ("Open the Effects panel to fine-tune the strength.", "打开右侧面板可以微调参数。"),
    ("You can drag the clip on the timeline to adjust it.", "您可以拖拽时间线上的片段进行调整。"),
    ("Preview the result in the timeline.", "您可以在时间线中预览效果。"),
    ("Check your account to see the credits left.", "可在账户页面查看剩余积分。"),
    ("", ""),
)


class Talk:
    """The agent's replies in the session's language: English or Chinese."""

    def __init__(self, language: str, draw: random.Random, *, screens: bool = True) -> None:
        self._chinese = language.lower().startswith("zh")
        self.draw = draw
        self._screens = screens

    def done(self, calls: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
        """What was done, with one sentence for each tool call, and usually a piece of screen talk."""
        sentences = dict.fromkeys(self._pick(DID[tool]).format_map(args) for tool, args in calls)
        # Drawn even if it is not used, so that later random choices stay the same.
        advice = self._pick(self.draw.choice(SCREEN))
        return self._join([*sentences, advice if self._screens else ""])

    def about(self, draft: "Draft") -> str:
        """The answer to a question about the draft."""
        clips, seconds = len(draft.segments(TrackType.VIDEO)), draft.duration_ms / 1000
        texts = (
            f"The timeline holds {clips} video segments and runs for {seconds:.1f} seconds.",
            f"时间线上有 {clips} 个视频片段，总长 {seconds:.1f} 秒。",
        )
        return self._join([self._pick(texts), self._pick(SCREEN[3])])

    def wants_photo(self) -> str:
        return self._pick(("Whose face should I use? Please upload a reference photo first.", "请先上传一张参考照片。"))

    def wants_clip(self) -> str:
        return self._pick(("There is no clip here yet. Which one should I work on?", "您想编辑哪个视频？"))

    def wants_detail(self) -> str:
        return self._pick(("Should that apply to the whole clip?", "要应用到整个视频吗？"))

    def declines(self) -> str:
        return self._pick(("I'm sorry, I can't help with that request.", "抱歉，这个请求我无法完成。"))

    def _pick(self, texts: tuple[str, str]) -> str:
        return texts[self._chinese]

    def _join(self, sentences: list[str]) -> str:
        return ("" if self._chinese else " ").join(sentence for sentence in sentences if sentence)
