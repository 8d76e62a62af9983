"""An instruction's route and language, told by intent."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelq.intent import language, route
from reelq.job import Route

SAID: Final = {
    Route.EXPORT: """
        export | Export. | EXPORT! | export it | export the video | Export my final video, please. | export as mp4
        export as a clean MP4 | Please export it in 1080p now | could you export the video to MP4? | just export it
        export the clip in high quality | export as-is | export the video without any changes | download | download it
        download the finished video | I'd like to download the result | can I download the video please? | render
        render and download | render & download | Render the video, then send it to me | send me the video
        send it to me | give me the download link | get me the final file | upload and export the video | save as mp4
        "export" | ｅｘｐｏｒｔ | Great, thanks! Now export the video :) | 导出
        导出！ | 导出视频 | 導出影片 | 请导出视频
        请帮我导出一下吧 | 把视频导出成mp4 | 导出为 MP4 格式 | 导出1080p视频
        把最终的视频发给我 | 下载视频 | 能不能帮我下载一下？
        帮我export一下 | 请 download 视频 | 发我视频 | 渲染并导出 | 帮我把剪好的视频导出来 | 导 出
    """,
    Route.CREDITS: """
        credits | Credits? | balance | check balance
        check my credits | what's my balance? | What’s my credit balance
        how many credits do I have left? | how many credits are left | show my credits | remaining credits
        do I have enough credits | please check the balance | 积分 | 余额？
        餘額 | 查一下积分 | 我还有多少积分？ | 还剩多少积分
        请查询余额 | 积分还剩多少 | 查一下credits | 我的账户余额
    """,
    Route.STATUS: """
        status | STATUS? | show status | show tracks
        Show me the tracks, please | list the tracks | show the timeline
        what's the status of my project? | project status | status update
        check the status | what is on the timeline?
        is it done yet? | how is it going? | check progress | 状态 | 狀態
        当前状态 | 查看状态 | 看一下进度 | 显示轨道 | 做到哪了？
        完成了吗 | 有哪些轨道 | status 怎么样
    """,
    Route.UPLOAD: """
        upload | Upload! | upload this | upload the file | upload beach.mp4 | please upload my video | just upload it
        upload the reference photo | upload the clip without changes | 上传 | 请上传视频
        上傳影片 | 把视频上传一下 | 只上传
    """,
    Route.EDIT: """
        trim the pauses, add captions, and export as a clean MP4 | remove the export watermark | add a status bar
        remove the download button from the clip | export-quality colour grade | show the tracks of the car
        balance the colours | white balance | balance audio levels | roll the credits at the end | show the credits
        add end credits | add the word export | make it look like a status report | blur the upload button
        give me a video | send me the video with captions | export as a cartoon | render it as a cartoon
        export the first 5 seconds | export as mp3 | export only the audio | don't export | do not upload it
        exprot the video | dowload it | stauts | crdits | uplaod | export captions | download the captions as a title
        upload it to the moon | export it vertical
        speed up the download animation | credit the director in the title
        add a title that says "status" | "show tracks" in bold at 0:03 | status bar
        track the face | show the timeline of the war
        export and add music | add music and export | cut 5s then download
        5 credits flying in | make a video and send me the video
        把导出按钮的画面剪掉 | 加字幕然后导出 | 导出前先加字幕 | 去掉下载水印
        给视频加上积分动画 | 加一个状态栏 | 把余额两个字放大
        上传按钮改成红色 | 导出第一段 | 下载的视频调亮一点 | 不要导出
        剪掉停顿，加上字幕，导出为MP4 | 把积分榜放到右上角 | 状态不好的镜头删掉
        请把 export 字样去掉 | 显示轨道上的火车 | 上传者的名字加到片头 | 不上传
    """,
}
TABLE: Final = [
    (phrase.strip(), answer)
    for answer, block in SAID.items()
    for line in block.strip().splitlines()
    for phrase in line.split(" | ")
]


@pytest.mark.parametrize(("phrase", "answer"), TABLE)
def test_an_instruction_is_routed_by_what_it_asks_for_whatever_its_case_and_blanks(phrase: str, answer: Route) -> None:
    for spelt in (phrase, phrase.upper(), f"\n\t {phrase.replace(' ', '   ')}\r\n"):
        assert route(spelt) is answer
        assert route(spelt, has_file=True) is answer


@pytest.mark.parametrize("blank", ["", "  ", "\n", "\u200b", "-", "—", "…", "。"])
@pytest.mark.parametrize("has_file", [True, False])
def test_nothing_said_never_sends_an_empty_message(blank: str, has_file: bool) -> None:
    assert route(blank, has_file=has_file) is Route.UPLOAD


ASKED: Final = [phrase for phrase, answer in TABLE if answer is not Route.EDIT]
WORK: Final = [
    *("add captions", "make it brighter", "trim the pauses", "blur the face", "加字幕", "去掉背景音乐", "调亮画面"),
]


@given(
    st.sampled_from(ASKED),
    st.sampled_from(WORK),
    st.sampled_from([", ", " and ", ". ", "，然后", "; then "]),
    st.booleans(),
)
def test_a_request_beside_real_work_is_an_edit(request_: str, work: str, glue: str, work_first: bool) -> None:
    first, second = (work, request_) if work_first else (request_, work)
    assert route(f"{first}{glue}{second}") is Route.EDIT


ELSEWHERE: Final = [
    *("remove the {} button", "add a {} bar", "put '{}' into the title", "the {} scene is too dark"),
    *("blur every {} sign", "{}-style colours", "把{}按钮去掉", "给{}两个字加描边"),
]


@given(
    st.sampled_from(["export", "download", "status", "credits", "upload", "balance", "tracks", "导出", "积分", "状态"]),
    st.sampled_from(ELSEWHERE),
)
def test_the_words_in_another_context_are_an_edit(word: str, sentence: str) -> None:
    assert route(sentence.format(word)) is Route.EDIT


@given(st.text(), st.booleans())
def test_any_text_has_a_route_and_a_language(text: str, has_file: bool) -> None:
    assert route(text, has_file=has_file) in Route
    assert language(text) in {"en", "zh-CN", "ja", "ko"}


SPOKEN: Final = {
    "en": ["add captions", "coupe les pauses", "", "add the title “春节快乐”", 'add the title "こんにちは"'],
    "zh-CN": [
        *("给视频加字幕", "把 beach clip 调成 teal and orange", "don't add 字幕, I can't read it"),
        *("“春节快乐”", "加上标题《Spring》"),
    ],
    "ja": ["字幕を追加して", "カット"],
    "ko": ["자막을 추가해 주세요"],
}


def test_the_language_is_that_of_the_script_outside_quotation_marks() -> None:
    for code, texts in SPOKEN.items():
        assert {text: language(text) for text in texts} == dict.fromkeys(texts, code)
