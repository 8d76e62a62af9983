"""The agent's reply as actions and clean words."""

import random
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelq.remote.phrases import Action, is_noise, read
from sandbox import talk
from sandbox.draft import Draft

EXPORT, STATE, SEND, SHOW, CREDITS = (
    Action.EXPORT,
    Action.READ_STATE,
    Action.SEND,
    Action.SHOW_TIMELINE,
    Action.READ_CREDITS,
)

ALL_SCREEN: Final = [
    ("Click the Export button to download your video.", [EXPORT]),
    ("Click Export.", [EXPORT]),
    ("click export when you're happy", [EXPORT]),
    ("Please click **Export**.", [EXPORT]),
    ("**Click** Export", [EXPORT]),
    ("- Click [Export]", [EXPORT]),
    ("Tap 'Download' in the menu on the right.", [STATE]),
    ("Press the Download button.", [EXPORT]),
    ("To export, click **Export** in the top-right corner.", [EXPORT]),
    ("Once you're happy, hit Export and choose MP4.", [EXPORT]),
    ("You can export your video now.", [EXPORT]),
    ("You can click it now.", [SEND]),
    ("Feel free to download the video.", [EXPORT]),
    ("The Export button is in the top right corner.", [EXPORT]),
    ("You'll find the Export button in the top right corner.", [EXPORT]),
    ("Export the video when you are ready!", [EXPORT]),
    ("Select 1080p in the export dialog.", [EXPORT]),
    ("Open the Audio panel to adjust the volume.", [STATE]),
    ("Open the **Effects** panel.", [STATE]),
    ("Go to the Text tab.", [STATE]),
    ("Switch to the timeline.", [STATE]),
    ("If you want to change the music, open the audio panel.", [STATE]),
    ("Open the panel and click Export.", [STATE, EXPORT]),
    ("Select the text tab, then click Generate.", [STATE, SEND]),
    ("You can preview the result in the timeline.", [SHOW]),
    ("Preview it in the timeline.", [SHOW]),
    ("Press play to watch it.", [SHOW]),
    ("Click the Preview button.", [SHOW]),
    ("Head over to Billing to upgrade your plan.", [CREDITS]),
    ("Check your account to see the credits left.", [CREDITS]),
    ("Click Upgrade to get more credits.", [CREDITS]),
    ("Simply drag the clip to the start of the track.", [SEND]),
    ("Drag and drop your photo onto the timeline.", [SEND]),
    ("Drop it onto the track.", [SEND]),
    ('Click "Apply" to confirm the effect.', [SEND]),
    ("Click Apply to save the effect.", [SEND]),
    ("请点击“导出”按钮。", [EXPORT]),
    ("点击导出", [EXPORT]),
    ("您可以点击右上角的【导出】。", [EXPORT]),
    ("如果满意，点击右上角的导出按钮。", [EXPORT]),
    ("要导出视频，请点击下载按钮。", [EXPORT]),
    ("您可以在时间线面板中预览效果。", [SHOW]),
    ("请在时间轴中预览。", [SHOW]),
    ("打开设置面板，选择1080p。", [STATE, EXPORT]),
    ("如果想要更换音乐，可以打开音频面板。", [STATE]),
    ("请前往账户页面充值。", [CREDITS]),
    ("将素材拖动到时间线上。", [SEND]),
    ("拖拽片段到开头即可。", [SEND]),
    ("可在账户页面查看剩余积分。", [CREDITS]),
    ("您可以在账户中查看剩余积分。", [CREDITS]),
    ("查看账户即可了解剩余积分。", [CREDITS]),
    ("You can check the remaining credits on the account page.", [CREDITS]),
    ("可在右侧面板微调强度。", [STATE]),
    ("You can fine-tune the strength in the Effects panel.", [STATE]),
    ("请在导出页面下载视频。", [EXPORT]),
    ("剩余积分可在账户页面查看。", [CREDITS]),
    ("Your remaining credits can be seen on your account page.", [CREDITS]),
    ("音量可以在音频面板中调整。", [STATE]),
    ("The volume can be adjusted in the Audio panel.", [STATE]),
    ("“导出”按钮在右上角。", [EXPORT]),
    ("You can save the video from the export page.", [EXPORT]),
    ("点击“确认”按钮。", [SEND]),
    ("您可以在右侧面板查看效果，满意后点击「导出」按钮即可下载。", [STATE, EXPORT]),
]

ALL_CONTENT: Final = [
    "A hand clicks a mouse.",
    "The door opens and the camera moves in.",
    "Added a whip-pan as the car drops into view.",
    "The title opens the clip.",
    "Added a call to action that says 'Click here'.",
    "Added the text “Tap the Export button” at 0:03.",
    'The caption reads "Click the link below".',
    "Drag race footage was trimmed to 6 seconds.",
    "Press conference clip brightened.",
    "Drop shadow added to the title.",
    "Open sky shot kept at the start.",
    "Export completed.",
    "Your video is ready.",
    "You can see the beach in the clip.",
    "A dragon drags its tail across the field.",
    "The beat drops at 0:12, then the music fades.",
    "Added a subscribe button in the bottom right corner.",
    "She presses the doorbell and the light goes on.",
    "I removed the export watermark from the corner.",
    "A click sound plays at 0:05.",
    "The video is 12.5s long, at 1080p.",
    "Which song would you like?",
    "- Trimmed the pauses\n- Added captions",
    "**Video**: city timelapse (0-10s)",
    "## What I did\n\nTrimmed it. Brightened it.",
    "画面中人物打开门。",
    "选择了更明快的背景音乐。",
    "点击声已添加到第3秒。",
    "添加了“点击这里”的文字。",
    "已添加字幕，并调整了音量。",
    "导出已完成。",
    "女孩拖着行李箱走过。",
    "在账户页面的画面上添加了箭头。",
    "已在左侧添加水印。",
    "在右侧调整了亮度。",
    "已在设置中调整音量。",
    "在素材库中选择了三张照片。",
    "订阅按钮在右下角出现。",
    "The door can be seen on the left.",
    "字幕在画布中央显示。",
    "片尾页面保留了三秒。",
    "```\nClick the Export button.\n```",
]

MIXED: Final = [
    ("I added the captions; click Export when you're happy.", "I added the captions.", [EXPORT]),
    ("I added the captions, so you can click Export now.", "I added the captions.", [EXPORT]),
    ("I added the captions and music — click Export to save it.", "I added the captions and music.", [EXPORT]),
    ("Your video is ready. Once you're happy, hit Export.", "Your video is ready.", [EXPORT]),
    ("Trimmed it. Open the Audio panel. The music fades out.", "Trimmed it. The music fades out.", [STATE]),
    ("Click Export when ready; I added captions too.", "I added captions too.", [EXPORT]),
    ("已添加字幕，请点击导出按钮下载。", "已添加字幕。", [EXPORT]),
    ("我把音乐换成了 Lo-fi。拖拽片段到开头即可。", "我把音乐换成了 Lo-fi。", [SEND]),
    ("Done!\n\nNext steps:\n1. Click Export\n2. Open the Text panel", "Done!", [EXPORT, STATE]),
    ("Done!\n\n## Next steps\n- Click Export\n\nEnjoy.", "Done!\n\nEnjoy.", [EXPORT]),
    ("- Added captions\n- Click Export", "- Added captions", [EXPORT]),
    ("The title says 'Go'. Click the Export button.", "The title says 'Go'.", [EXPORT]),
    ("Length is 1.5s. You can preview it in the timeline.", "Length is 1.5s.", [SHOW]),
    ("Changes:\n- Click Export\n- Added music", "Changes:\n- Added music", [EXPORT]),
]


def test_the_table_is_worth_its_name() -> None:
    assert len(ALL_SCREEN) + len(ALL_CONTENT) + len(MIXED) >= 90


@pytest.mark.parametrize(("reply", "actions"), ALL_SCREEN)
def test_an_instruction_about_the_screen_becomes_an_action(reply: str, actions: list[Action]) -> None:
    assert (read(reply).kept, list(read(reply).actions)) == ("", actions)


@pytest.mark.parametrize("reply", ALL_CONTENT)
def test_a_description_of_content_is_kept_word_for_word(reply: str) -> None:
    heard = read(reply)
    assert (heard.kept, heard.actions, heard.follow_up) == (reply, (), "")


@pytest.mark.parametrize(("reply", "kept", "actions"), MIXED)
def test_a_mixed_reply_loses_only_its_screen_part(reply: str, kept: str, actions: list[Action]) -> None:
    assert (read(reply).kept, list(read(reply).actions)) == (kept, actions)


def canned(language: str) -> list[str]:
    """Every reply to an edit that the stand-in's agent can give: each thing done, with each piece of screen talk."""
    args = {"volume": 0.3}
    replies = (talk.Talk(language, Drawn(screen)).done([(tool, args)]) for tool in talk.DID for screen in talk.SCREEN)
    return list(replies)


class Drawn(random.Random):
    """Draws what it was given."""

    def __init__(self, drawn: object) -> None:
        super().__init__()
        self._drawn = drawn

    def choice(self, seq: Any) -> Any:
        return self._drawn


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_what_the_stand_in_did_is_kept_and_its_screen_talk_becomes_the_same_actions_in_every_language(
    language: str,
) -> None:
    meant = [(EXPORT,), (STATE,), (SEND,), (SHOW,), (CREDITS,), ()]
    said = canned(language)
    without = said[len(meant) - 1 :: len(meant)]  # the last piece of screen talk is none
    assert len(said) == len(meant) * len(without)
    for number, reply in enumerate(said):
        did, actions = without[number // len(meant)], meant[number % len(meant)]
        assert (read(reply).kept, read(reply).actions) == (did, actions), reply


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_what_the_stand_in_asks_or_declines_is_kept(language: str) -> None:
    agent = talk.Talk(language, random.Random(0))
    for reply in (agent.wants_photo(), agent.wants_clip(), agent.wants_detail(), agent.declines()):
        assert (read(reply).kept, read(reply).actions) == (reply, ())
    about = read(agent.about(Draft("project")))
    assert about.actions == (SHOW,)
    assert about.kept.endswith(("0.0 seconds.", "0.0 秒。"))
    assert is_noise(talk.TEMPORARY_ISSUE)


def test_an_action_is_named_once_in_the_order_of_its_first_mention() -> None:
    assert read("Open the Text panel. Click Export. Open the Audio tab. Click Export.").actions == (STATE, EXPORT)


def test_what_the_agent_leaves_to_the_person_is_handed_back_to_it() -> None:
    heard = read("Simply drag the clip to the start.")
    assert heard.follow_up == "Please do this yourself, directly in the project: drag the clip to the start."
    assert (
        read("拖拽片段到开头即可。").follow_up == "请你直接在项目里完成这一步，不需要我操作界面：拖拽片段到开头即可。"
    )
    assert read("Drag the clip to the end, or click the music icon.").follow_up.endswith(
        ": Drag the clip to the end; click the music icon."
    )
    assert read("Click Export.").follow_up == ""


@given(st.text())
def test_any_text_can_be_read_and_reading_again_changes_nothing(text: str) -> None:
    kept = read(text).kept
    assert read(kept).kept == kept


PIECES: Final = [
    *(reply for reply, _ in ALL_SCREEN),
    *ALL_CONTENT,
    "; ", ", ", "\n", " ", "- ", "## ", "1. ", "“", '"', "'", "**", "```\n", "：", "，", "。", " and ", "To export, ",
    "click ", "the ",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_no_mixture_of_phrases_reads_differently_the_second_time(reply: str) -> None:
    heard = read(reply)
    assert read(heard.kept).kept == heard.kept
    assert len(heard.kept) <= len(reply)
    assert (Action.SEND in heard.actions) == bool(heard.follow_up)


@pytest.mark.parametrize(
    "text",
    [
        "I encountered a temporary issue.",
        "I encountered a temporary issue. Please try again.",
        "Sorry, I ran into a temporary technical problem, please try again later.",
        "It seems there was a brief error on our side.",
        "抱歉，我遇到了一个临时问题，请稍后再试。",
        "系统出现临时故障",
    ],
)
def test_a_passing_trouble_is_noise(text: str) -> None:
    assert is_noise(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Done.",
        "I added captions. I encountered a temporary issue.",
        "I encountered a small problem with the audio, and fixed it.",
        "The actor encountered a temporary issue.",
        "我遇到了一个小问题，已解决。",
        "I couldn't find a face in the clip.",
    ],
)
def test_anything_else_is_an_answer(text: str) -> None:
    assert not is_noise(text)
