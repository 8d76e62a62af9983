"""Determines the route and the language of an instruction, from the whole sentence, never from a single word.

A route other than EDIT is chosen only if the *whole* instruction is such a request, apart from courtesy. In doubt it is
EDIT, because one mistake is worse than the other. An edit taken for an export returns the unchanged video as a success,
and nobody notices. An export taken for an edit costs a few credits at most and still returns the video, because every
edit ends with an export; and if the agent changes nothing, the row says so.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache, reduce
from typing import Final

from reelq.job import Route

_MAX_REQUEST_LENGTH: Final = 160
"""The longest text that is matched against the grammar: no request for an export needs more characters."""

_INNER_PUNCTUATION: Final = "'’-.:/_"
"""Punctuation that may occur inside a word: a file name, a URL, export-quality, what's."""
_PHRASE_SEPARATOR: Final = re.compile(r"\|(?![^(]*\))")
"""A bar between phrases, but not one inside the parentheses of a phrase."""

Rule = Callable[[str, frozenset[int]], frozenset[int]]
"""A rule of the grammar: maps the positions where it may start to the positions where it can end.

Following all positions at once bounds the time, where a single regular expression could backtrack for ever.
"""


def _phrases(text: str, end: str) -> Rule:
    """Any of the phrases between the bars, each a regular expression that matches in one way only."""

    @cache  # compiled for the first instruction: most processes read none
    def expressions() -> tuple[re.Pattern[str], list[re.Pattern[str]]]:
        phrases = [f"(?:{phrase}){end}" for phrase in _PHRASE_SEPARATOR.split(text)]
        return re.compile("|".join(phrases)), [re.compile(phrase) for phrase in phrases]

    def ends(said: str, starts: frozenset[int]) -> frozenset[int]:
        any_phrase, phrase_patterns = expressions()
        candidates = [start for start in starts if any_phrase.match(said, start)]
        return frozenset(
            match.end()
            for start in candidates
            for phrase_pattern in phrase_patterns
            if (match := phrase_pattern.match(said, start))
        )

    return ends


def _en(text: str) -> Rule:
    return _phrases(text, end=" ")  # a space follows every word of the text


def _zh(text: str) -> Rule:
    return _phrases(text, end="")


def _seq(*rules: Rule) -> Rule:
    return lambda said, starts: reduce(lambda positions, rule: rule(said, positions), rules, starts)


def _any(*rules: Rule) -> Rule:
    return lambda said, starts: frozenset().union(*(rule(said, starts) for rule in rules))


def _opt(*rules: Rule) -> Rule:
    rule = _seq(*rules)
    return lambda said, starts: starts | rule(said, starts)


def _many(*rules: Rule) -> Rule:
    """Any number of times, including none."""
    rule = _any(*rules)

    def ends(said: str, starts: frozenset[int]) -> frozenset[int]:
        seen = new = starts
        while new:
            new = rule(said, new) - seen
            seen |= new
        return seen

    return ends


# English
_COURTESY = _many(
    _en("please|pls|plz|kindly|hi|hello|hey|ok|okay|great|perfect|thanks|thank you|thx|cheers|so|so much|very much"),
    _en("a lot|now|then|just|only|simply|right away|right now|asap|immediately|again|for me|looks? good|that's all"),
    _en("i'm done|all done"),
)
_ASKING = _opt(
    _any(
        _en("(?:can|could|would|will|may) (?:you|u|i|we)|let me|let's|go ahead and|help me(?: to)?"),
        _en("i (?:want|need|would like)(?: you)? to|i'd like(?: you)? to|i wanna|you (?:can|may)"),
    ),
    _COURTESY,
)
_THE = _opt(_en("the|this|that|these|those|my|our|your|all|all the|all my|all of the|all of my|an?"))
_IT = _en("it|this|that|them|these|everything|all|all of it|the whole thing")
_WHICH = _many(
    _en("final|finished|edited|completed?|full|whole|entire|resulting|rendered|current|existing|last|latest|original"),
    _en(
        "raw|source|clean|good|high|higher|highest|best|maximum|hd|uhd|high-quality|high-resolution|reference|attached"
    ),
)
_FORMAT = _en(r"mp4|mov|webm|mkv|avi|h\.?264|480p|720p|1080p|2160p|2k|4k|full hd|u?hd")
_THING = _en("videos?|clips?|movie|film|files?|results?|output|project|session|cut|version|footage|timeline|mp4")
_THE_VIDEO = _any(_IT, _seq(_THE, _WHICH, _opt(_FORMAT), _THING, _opt(_en("clip|file"))))
_AS_FORMAT = _seq(
    _opt(_en("as|to|in|into|at|with")),
    _THE,
    _WHICH,
    _any(
        _seq(_FORMAT, _many(_FORMAT), _opt(_en("format|files?|videos?|resolution|quality|version"))),
        _en("(?:high|highest|best|full|max|maximum|good) (?:quality|resolution)"),
    ),
)
_AS_IT_IS = _opt(
    _any(
        _en("as it is|as is|as-is|as they are|unchanged"),
        _seq(_en("without|with no|no"), _many(_en("any|further|more")), _en("changes?|edits?|editing")),
    )
)
_AND = _opt(_en("and|then|and then"))
_MAKE = _en("export|download|render|save")
_FETCH = _seq(
    _MAKE, _many(_seq(_AND, _MAKE)), _opt(_THE_VIDEO), _many(_AS_FORMAT), _AS_IT_IS,
    _opt(_en("to (?:my|the|this) (?:computer|disk|folder|phone|device|machine)")),
)  # fmt: skip
_DELIVER = _seq(
    _en("(?:send|give|get|hand|return|deliver|have|email)(?! (?:me |us )?an? )"),  # "give me a video" asks to make one
    _opt(_en("me|us|back")),
    _any(
        _seq(_THE, _opt(_en("download|export|video")), _en("link|download|export")),
        _seq(_THE_VIDEO, _many(_AS_FORMAT)),
    ),
    _opt(_en("to me|to us|back|back to me|over")),
)
_FILE_NAME = _en(r"[^ ]+\.(?:mp4|mov|avi|webm|mkv|jpe?g|png|gif|webp|mp3|wav|m4a|aac)")
_MEDIA = _en("photos?|images?|pictures?|logo|music|song|audio|media|assets?")
_UPLOAD = _seq(
    _en("upload"),
    _opt(_any(_THE_VIDEO, _seq(_THE, _any(_FILE_NAME, _seq(_WHICH, _MEDIA))))),
    _AS_IT_IS,
    _opt(_en("(?:in)?to (?:the|my|this) (?:session|project|timeline|draft)")),
)
_EXPORT = _any(_FETCH, _DELIVER)
_LOOK = _seq(
    _en("show|list|display|see|view|check|get|print|read|tell|give|what's|what is|what are"), _opt(_en("me")), _THE
)
_JOB = _seq(_THE, _WHICH, _en("project|session|job|video|edit|export|render|timeline|draft|task|it"))
_STATUS = _any(
    _seq(_opt(_LOOK), _WHICH, _opt(_JOB), _en("status"), _opt(_en("update|report|check")), _opt(_en("of|for"), _JOB)),
    _seq(
        _LOOK,
        _opt(_en("current|project|session|video|audio|text|timeline")),
        _en("tracks|track list|timeline|state|draft"),
        _opt(_en("(?:of|in|on) (?:the|this|my) (?:project|session|timeline|draft)")),
    ),
    _seq(_en("check|what's|what is"), _THE, _en("progress")),
    _en("what(?:'s| is) (?:on|in) (?:the|my) (?:timeline|draft)|what tracks are there|which tracks are there"),
    _seq(_en("is it done|is it ready|is it finished|are you done"), _opt(_en("yet"))),
    _en("how's it going|how is it going|how far is it|how far are you"),
)  # fmt: skip
_BALANCE = _en("credits?|credits? balance|account balance|balance|credits? and balance")
_LEFT = _opt(_en("left|remaining|available"))
_MY = _many(_en("my|our|current|remaining|available"))
_HAVE = _en("do i have|do we have|do i still have|i have|we have|have i got|have i|are there|is there|are|remain")
_CREDITS = _any(
    _seq(_opt(_en("check|get|read|view|see|query|what's|what is|what are"), _opt(_en("the"))), _MY, _BALANCE, _LEFT),
    # No article here: "show the credits" means the closing credits of a film.
    _seq(
        _en("show|display|tell me|give me|show me"), _any(_seq(_MY, _BALANCE, _LEFT), _en("the (?:account )?balance"))
    ),
    _seq(_opt(_en("tell me|show me")), _en("how many|how much|what"), _BALANCE, _opt(_HAVE), _LEFT),
    _seq(_en("do i have|do we have|do i still have|have i got"), _opt(_en("any|enough")), _BALANCE, _LEFT),
)

# Chinese, simplified and traditional, written without spaces, mixed with Latin words ("帮我export一下").
_ZH_COURTESY = _many(
    _zh(
        "请问|请|請|麻烦|麻煩|帮忙|幫忙|帮我|幫我|帮|幫|给我|給我|替我|为我|你好|您好|您|你|能不能|能否|可不可以|可否|可以|能|我想要|我想"
    ),
    _zh(
        "我要|我需要|想|要|现在|現在|就|直接|然后|然後|那|好的|好了|好|再|先|快点|快|马上|馬上|立即|立刻|只要|只|仅|僅|please|pls|ok|hi"
    ),
)
_ZH_TAIL = _many(
    _zh(
        "一下|下来|下來|下|吧|啊|呀|呢|哦|喔|哈|了|吗|嗎|么|谢谢|謝謝|您|你|多谢|谢了|好吗|好嗎|行吗|可以吗|可以嗎|给我|給我|出来|出來"
    ),
    _zh("就行|就好|即可|就可以|现在|現在|马上|馬上|please|pls|thanks|thankyou|thx"),
)
_ZH_WHICH = _many(
    _zh(
        "这个|這個|这段|這段|这条|这些|这|該|该|我的|最终|最終|最后|最後|剪辑好|剪好|做好|编辑好|編輯好|完成|完整|整个|整個|当前|目前|高清|原|的"
    ),
    _zh("final|the|my|this"),
)
_ZH_FORMATS = _many(
    _seq(
        _opt(_zh("为|為|成|作|以|用|到")),
        _zh("mp4|mov|webm|mkv|avi|480p|720p|1080p|2160p|[24]k|高清|原画质|最高画质|高画质|最高清"),
        _opt(_zh("的")),
        _opt(_zh("格式|文件|檔案|视频|視頻|影片|画质|分辨率")),
    )
)
_ZH_VIDEO = _seq(
    _ZH_WHICH,
    _zh("视频|視頻|影片|成片|片子|短片|文件|檔案|作品|结果|結果|成品|项目|項目|工程|它|video|file|clip"),
)
_ZH_BA = _opt(_zh("把|将|將"))
_ZH_MAKE = _zh("导出来|导出|導出|匯出|下载|下載|渲染|输出|輸出|保存|export|download|render")
_ZH_SEND = _zh("发送|发|發|传|傳|send")
_ZH_ME = _zh("给我|給我|我")
_ZH_EXPORT = _any(
    _seq(
        _ZH_BA, _opt(_ZH_VIDEO), _ZH_MAKE, _many(_seq(_opt(_zh("并|並|和|然后|然後|再|后|and")), _ZH_MAKE)),
        _ZH_FORMATS, _opt(_ZH_VIDEO), _ZH_FORMATS,
    ),
    _seq(_ZH_BA, _ZH_VIDEO, _ZH_SEND, _ZH_ME),
    _seq(_ZH_SEND, _ZH_ME, _opt(_ZH_VIDEO)),
    _seq(_ZH_SEND, _ZH_VIDEO, _ZH_ME),
    _seq(_zh("给我|給我"), _ZH_VIDEO),
)  # fmt: skip
_ZH_LOOK = _many(_zh("查询|查詢|查看|查一查|查|看一看|看看|看|显示|顯示|告诉我|告訴我|check|show|一下"))
_ZH_STATUS = _any(
    _seq(
        _ZH_LOOK,
        _many(_zh("我的|当前|目前|现在|現在|项目|項目|任务|任務|视频|視頻|会话|的|所有|全部|是什么|什么")),
        _zh("状态|狀態|进度|進度|进展|时间线|時間線|时间轴|時間軸|轨道|軌道|status|timeline|tracks"),
        _opt(_zh("列表|信息")),
        _opt(_zh("是什么|怎么样|怎麼樣|如何")),
    ),
    _seq(_zh("有哪些|有什么|有几条"), _zh("轨道|軌道")),
    _seq(_zh("做到|进行到|剪到|弄到"), _zh("哪|哪里|哪儿|哪一步")),
    _seq(_zh("做好|做完|剪好|剪完|弄好|好|完成"), _zh("了"), _zh("吗|嗎|没|没有")),
)
_ZH_CREDITS = _seq(
    _ZH_LOOK,
    _many(_zh("我|的|账户|賬戶|帳戶|账号|当前|目前|还|還|有|剩余|剩餘|剩下|剩|多少|几个|可用")),
    _zh("积分|積分|余额|餘額|额度|額度|credits?|balance"),
    _opt(_zh("余额|餘額")),
    _many(_zh("还|還|有|剩余|剩餘|剩下|剩|多少|是|几|够不够|够用|够|情况|查询|查詢")),
)
_ZH_UPLOAD = _seq(
    _ZH_BA,
    _opt(_ZH_VIDEO),
    _zh("上传|上傳|上載|upload"),
    _opt(_any(_ZH_VIDEO, _seq(_ZH_WHICH, _zh("图片|照片|素材|音乐|音频")))),
)


def _english(request: Rule) -> Rule:
    return _seq(_COURTESY, _ASKING, request, _AS_IT_IS, _COURTESY)


def _chinese(request: Rule) -> Rule:
    return _seq(_ZH_COURTESY, request, _ZH_TAIL)


_REQUESTS: Final = (
    # Every export includes an upload, so "upload it and export" is an export.
    (Route.EXPORT, _english(_seq(_opt(_UPLOAD, _AND), _EXPORT, _many(_seq(_AND, _EXPORT)))), _chinese(_ZH_EXPORT)),
    (Route.CREDITS, _english(_CREDITS), _chinese(_ZH_CREDITS)),
    (Route.STATUS, _english(_STATUS), _chinese(_ZH_STATUS)),
    (Route.UPLOAD, _english(_UPLOAD), _chinese(_ZH_UPLOAD)),
)


_KEYWORDS: Final = re.compile(
    "export|download|render|save|send|give|get|hand|return|deliver|have|email|credit|balance|status|track|timeline|state"
    "|draft|progress|done|ready|finished|going|far|upload|导出|導出|匯出|下载|下載|渲染|输出|輸出|保存|发|發|传|傳|给|給"
    "|状态|狀態|进度|進度|进展|时间线|時間線|时间轴|時間軸|轨道|軌道|哪|了|积分|積分|余额|餘額|额度|額度|上载|上載"
)
"""Every request of the grammar contains one of these. Nearly all edits contain none, and skip the grammar."""


def _is_whole(rule: Rule, said: str) -> bool:
    return len(said) in rule(said, frozenset({0}))


@lru_cache(maxsize=4096)
def _normalize(char: str) -> str:
    """Letters, marks, digits and signs such as + and % unchanged; a space for punctuation, white space and emoji."""
    if char in _INNER_PUNCTUATION:
        return char
    kind = unicodedata.category(char)
    return " " if kind[0] in "PZ" or kind in {"So", "Sk", "Cc", "Cf"} else char


def _words(text: str) -> list[str]:
    """The words of a text, in one case and width, without the punctuation around them."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'").replace("&", " and ")
    plain = "".join(map(_normalize, folded.replace("\ufe0f", "")))
    return [word for piece in plain.split() if (word := piece.strip(_INNER_PUNCTUATION))]


def route(instruction: str, *, has_file: bool = False) -> Route:
    """The route of an instruction.

    An empty instruction (blank, or a lone dash in a spreadsheet) is UPLOAD, with or without a file: it must never be
    EDIT, which would send an empty message. The manifest rejects a row that has neither an instruction nor a file.
    """
    words = _words(instruction)
    if not words:
        return Route.UPLOAD
    if sum(map(len, words)) > _MAX_REQUEST_LENGTH:
        return Route.EDIT
    joined = "".join(words)
    if not _KEYWORDS.search(joined):
        return Route.EDIT
    spaced = "".join(f"{word} " for word in words)
    for requested, english, chinese in _REQUESTS:
        if _is_whole(english, spaced) or _is_whole(chinese, joined):
            return requested
    return Route.EDIT


_QUOTED: Final = re.compile(r"“[^”]*”|\"[^\"]*\"|「[^」]*」|『[^』]*』|《[^》]*》|‘[^’]*’|(?<!\w)'[^']*'(?!\w)")
_KANA: Final = re.compile("[ぁ-ゖァ-ヺ]")
_HANGUL: Final = re.compile("[가-힣ᄀ-ᇿㄱ-ㆎ]")
_HAN: Final = re.compile("[㐀-䶿一-鿿豈-﫿\U00020000-\U0003ffff]")


def language(instruction: str) -> str:
    """The ISO code of an instruction's language, determined from its script.

    Text in quotes is meant to appear in the video and says nothing about the language of the instruction. It counts
    only if there is no other text.
    """
    text = unicodedata.normalize("NFKC", instruction)
    unquoted = _QUOTED.sub(" ", text)
    relevant = unquoted if any(char.isalpha() for char in unquoted) else text
    for code, script in (("ja", _KANA), ("ko", _HANGUL), ("zh-CN", _HAN)):
        if script.search(relevant):
            return code
    return "en"
