"""The agent's reply as clean words, and what is handed back to it."""

import random
from types import SimpleNamespace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelq.nemo.agent_text import is_noise, parse_reply
from sandbox import agent
from sandbox.draft import Draft

DONE_ANYWAY, HANDED_BACK = False, True
"""What becomes of a gesture on the screen: every row is exported and its state, timeline and credits are read."""

SCREEN_TALK: Final = {
    DONE_ANYWAY: """
        Click the Export button to download your video. | Click Export. | click export when you're happy
        Please click **Export**. | **Click** Export | - Click [Export] | Press the Download button.
        To export, click **Export** in the top-right corner. | Once you're happy, hit Export and choose MP4.
        You can export your video now. | Feel free to download the video.
        The Export button is in the top right corner. | You'll find the Export button in the top right corner.
        Export the video when you are ready! | Select 1080p in the export dialog. | 请点击“导出”按钮。 | 点击导出
        您可以点击右上角的【导出】。 | 如果满意，点击右上角的导出按钮。 | 要导出视频，请点击下载按钮。
        请在导出页面下载视频。 | “导出”按钮在右上角。 | You can save the video from the export page.
        Tap 'Download' in the menu on the right. | Open the Audio panel to adjust the volume.
        Open the **Effects** panel. | Go to the Text tab. | Switch to the timeline.
        If you want to change the music, open the audio panel. | 如果想要更换音乐，可以打开音频面板。
        可在右侧面板微调强度。 | You can fine-tune the strength in the Effects panel. | 音量可以在音频面板中调整。
        The volume can be adjusted in the Audio panel.
        Open the panel and click Export. | 打开设置面板，选择1080p。
        Open the Text panel. Click Export. Open the Audio tab. Click Export.
        您可以在右侧面板查看效果，满意后点击「导出」按钮即可下载。
        You can preview the result in the timeline. | Preview it in the timeline. | Press play to watch it.
        Click the Preview button. | 您可以在时间线面板中预览效果。 | 请在时间轴中预览。
        Head over to Billing to upgrade your plan. | Check your account to see the credits left.
        Click Upgrade to get more credits. | 请前往账户页面充值。 | 可在账户页面查看剩余积分。
        您可以在账户中查看剩余积分。 | 查看账户即可了解剩余积分。
        You can check the remaining credits on the account page. | 剩余积分可在账户页面查看。
        Your remaining credits can be seen on your account page.
    """,
    HANDED_BACK: """
        You can click it now. | Simply drag the clip to the start of the track.
        Drag and drop your photo onto the timeline. | Drop it onto the track. | Click "Apply" to confirm the effect.
        Click Apply to save the effect. | 将素材拖动到时间线上。 | 拖拽片段到开头即可。 | 点击“确认”按钮。
        Select the text tab, then click Generate.
    """,
}
CONTENT: Final = """
    A hand clicks a mouse. | The door opens and the camera moves in. | Added a whip-pan as the car drops into view.
    The title opens the clip. | Added a call to action that says 'Click here'.
    Added the text “Tap the Export button” at 0:03. | The caption reads "Click the link below".
    Drag race footage was trimmed to 6 seconds. | Press conference clip brightened. | Drop shadow added to the title.
    Open sky shot kept at the start. | Export completed. | Your video is ready. | You can see the beach in the clip.
    A dragon drags its tail across the field. | The beat drops at 0:12, then the music fades.
    Added a subscribe button in the bottom right corner. | She presses the doorbell and the light goes on.
    I removed the export watermark from the corner. | A click sound plays at 0:05.
    The video is 12.5s long, at 1080p. | Which song would you like? | **Video**: city timelapse (0-10s)
    画面中人物打开门。 | 选择了更明快的背景音乐。 | 点击声已添加到第3秒。 | 添加了“点击这里”的文字。
    已添加字幕，并调整了音量。 | 导出已完成。 | 女孩拖着行李箱走过。 | 在账户页面的画面上添加了箭头。
    已在左侧添加水印。 | 在右侧调整了亮度。 | 已在设置中调整音量。 | 在素材库中选择了三张照片。
    订阅按钮在右下角出现。 | The door can be seen on the left. | 字幕在画布中央显示。 | 片尾页面保留了三秒。
"""


def phrases(block: str) -> list[str]:
    return [phrase.strip() for line in block.strip().splitlines() for phrase in line.split(" | ")]


ALL_SCREEN: Final = [(phrase, handed) for handed, block in SCREEN_TALK.items() for phrase in phrases(block)]
ALL_CONTENT: Final = [
    *phrases(CONTENT),
    "- Trimmed the pauses\n- Added captions",
    "## What I did\n\nTrimmed it. Brightened it.",
    "```\nClick the Export button.\n```",
]
MIXED: Final = [
    ("I added the captions; click Export when you're happy.", "I added the captions.", DONE_ANYWAY),
    ("I added the captions, so you can click Export now.", "I added the captions.", DONE_ANYWAY),
    ("I added the captions and music — click Export to save it.", "I added the captions and music.", DONE_ANYWAY),
    ("Your video is ready. Once you're happy, hit Export.", "Your video is ready.", DONE_ANYWAY),
    ("Trimmed it. Open the Audio panel. The music fades out.", "Trimmed it. The music fades out.", DONE_ANYWAY),
    ("Click Export when ready; I added captions too.", "I added captions too.", DONE_ANYWAY),
    ("已添加字幕，请点击导出按钮下载。", "已添加字幕。", DONE_ANYWAY),
    ("我把音乐换成了 Lo-fi。拖拽片段到开头即可。", "我把音乐换成了 Lo-fi。", HANDED_BACK),
    ("Done!\n\nNext steps:\n1. Click Export\n2. Open the Text panel", "Done!", DONE_ANYWAY),
    ("Done!\n\n## Next steps\n- Click Export\n\nEnjoy.", "Done!\n\nEnjoy.", DONE_ANYWAY),
    ("- Added captions\n- Click Export", "- Added captions", DONE_ANYWAY),
    ("The title says 'Go'. Click the Export button.", "The title says 'Go'.", DONE_ANYWAY),
    ("Length is 1.5s. You can preview it in the timeline.", "Length is 1.5s.", DONE_ANYWAY),
    ("Changes:\n- Click Export\n- Added music", "Changes:\n- Added music", DONE_ANYWAY),
]


@pytest.mark.parametrize(
    ("reply", "kept", "handed_back"),
    [
        *((reply, "", handed_back) for reply, handed_back in ALL_SCREEN),
        *((reply, reply, DONE_ANYWAY) for reply in ALL_CONTENT),
        *MIXED,
    ],
)
def test_an_instruction_about_the_screen_is_dropped_or_handed_back_and_a_description_of_content_kept_word_for_word(
    reply: str, kept: str, *, handed_back: bool
) -> None:
    heard = parse_reply(reply)
    assert (heard.kept, bool(heard.follow_up)) == (kept, handed_back)


@pytest.mark.parametrize("language", ["en", "zh-CN"])
@pytest.mark.parametrize("tool", agent.DID)
def test_what_the_stand_in_did_is_kept_and_its_screen_talk_is_heard_alike_in_every_language(
    language: str, tool: str
) -> None:
    def reply(screen: object) -> str:
        drawn: Any = SimpleNamespace(choice=lambda _: screen)
        return agent.Talk(language, drawn).done([agent.Step(tool, {"volume": 0.3}, lambda _: None)])

    *_, did = replies = [reply(screen) for screen in agent.SCREEN]  # the last piece of screen talk is none
    heard = [parse_reply(each) for each in replies]
    assert {each.kept for each in heard} == {did}
    assert [bool(each.follow_up) for each in heard] == [False, False, True, False, False, False]


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_what_the_stand_in_asks_or_declines_is_kept(language: str) -> None:
    talk = agent.Talk(language, random.Random(0))
    for reply in (talk.wants_photo(), talk.wants_clip(), talk.wants_detail(), talk.declines()):
        assert (parse_reply(reply).kept, parse_reply(reply).follow_up) == (reply, "")
    about = parse_reply(talk.about(Draft("project")))
    assert about.follow_up == ""
    assert about.kept.endswith(("0.0 seconds.", "0.0 秒。"))
    assert is_noise(agent.TEMPORARY_ISSUE)


def test_what_the_agent_leaves_to_the_person_is_handed_back_to_it() -> None:
    heard = parse_reply("Simply drag the clip to the start.")
    assert heard.follow_up == "Please do this yourself, directly in the project: drag the clip to the start."
    assert (
        parse_reply("拖拽片段到开头即可。").follow_up
        == "请你直接在项目里完成这一步，不需要我操作界面：拖拽片段到开头即可。"
    )
    assert parse_reply("Drag the clip to the end, or click the music icon.").follow_up.endswith(
        ": Drag the clip to the end; click the music icon."
    )
    assert parse_reply("Click Export.").follow_up == ""


PIECES: Final = [
    *(reply for reply, _ in ALL_SCREEN),
    *ALL_CONTENT,
    "; ", ", ", "\n", " ", "- ", "## ", "1. ", "“", '"', "'", "**", "```\n", "：", "，", "。", " and ", "To export, ",
    "click ", "the ",
]  # fmt: skip


@given(st.text() | st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_no_text_and_no_mixture_of_phrases_reads_differently_the_second_time(reply: str) -> None:
    heard = parse_reply(reply)
    assert parse_reply(heard.kept).kept == heard.kept
    assert len(heard.kept) <= len(reply)


NOISE: Final = """
    I encountered a temporary issue. | I encountered a temporary issue. Please try again.
    Sorry, I ran into a temporary technical problem, please try again later.
    It seems there was a brief error on our side. | 抱歉，我遇到了一个临时问题，请稍后再试。 | 系统出现临时故障
"""
ANSWERS: Final = """
    Done. | I added captions. I encountered a temporary issue. | The actor encountered a temporary issue.
    I encountered a small problem with the audio, and fixed it. | 我遇到了一个小问题，已解决。
    I couldn't find a face in the clip.
"""


def test_a_passing_trouble_is_noise_and_anything_else_is_an_answer() -> None:
    assert [text for text in phrases(NOISE) if not is_noise(text)] == []
    assert [text for text in ("", *phrases(ANSWERS)) if is_noise(text)] == []
