"""Parses the agent's replies, which are written for a person at a video editor, into text and what is left to do.

"Screen talk" is a sentence that tells the reader to do something on the screen. Videos also show things that are
clicked, opened and dragged, so an instruction is recognised by its position and its object: it starts a clause, after
polite words at most, and names a part of the screen. Text in quotation marks is content, unless it names the button to
click.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """A parsed reply: the text to keep, and a message that hands gestures back to the agent, if there are any."""

    kept: str
    follow_up: str


_LONGEST_CLAUSE: Final = 400
_LONGEST_FOLLOW_UP: Final = 600
# Quoted text is content: its commas end no clause, and its verbs are not instructions.
_QUOTED: Final = re.compile(
    r"\"[^\"\n]{0,300}\"|“[^“”\n]{0,300}”|「[^「」\n]{0,300}」|『[^『』\n]{0,300}』|《[^《》\n]{0,300}》|‘[^‘’\n]{0,300}’"
    r"|(?<!\w)'[^'\n]{0,300}'(?!\w)|`[^`\n]{0,300}`"
)
_MASK = "\x00"
_BULLET: Final = re.compile(
    r"[ \t>]{0,20}(?:(?:[-*+•·]|\d{1,3}[.)]|#{1,6})[ \t]+|[•·]|\d{1,3}、|步骤\d{1,2}[:：])[ \t]*"
)
_SENTENCE_END: Final = re.compile(r"[.!?…]+[\"”’)\]*_]*(?=\s|$)|[。！？]+[”’」）*_]*|;(?=\s|$)|；|\s[—–-]{1,2}\s|——")
_CLAUSE_END: Final = re.compile(r"[,:](?=\s)|[，：、]|\s(?=(?:and(?! drop\b)|then|so|but|or)\s)")
_SCREEN: Final = (
    r"(?:panels?|tabs?|buttons?|menus?|timeline|side ?bar|tool ?bar|editor|preview|settings|window|dialog|drop-?down"
    r"|icons?|screen|canvas|workspace|library|export|download|billing|account|player|inspector|slider|check ?box|link"
    r"|page|playback|properties|(?:top|upper|bottom|lower)[- ](?:left|right)|media pool|playhead|subscription|plan)\b"
)
_BUTTON: Final = (
    r"(?:export|download|play|apply|generate|confirm|save|render|preview|next|done|ok|upload|continue|start|create|share"
    r"|publish|upgrade|settings|add|split|undo|enter|space|here|submit)\b(?! ?(?:sound|button sound|effect))"
)
_OBJECT_START: Final = (
    r"(?:the|your|that|this|these|those|it|them|any|an?|each|on|one|either|here|into|to|over|down|up)\b"
)
_PLACE: Final = r"(?:the|your)\s[^\x00]{0,40}\b(?:panel|tab|menu|page|side ?bar|tool ?bar|settings|inspector|account)\b"
_MARKED_NAME: Final = r"[\[*_\x00【]"
_LEAD_IN: Final = (
    r"(?:(?:please|now|then|next|finally|first|just|simply|and|so|or|but|also|again|lastly|afterwards|alternatively|instead"
    r"|you can|you could|you may|you might|you should|you must|you need to|you'll need to|you will need to"
    r"|you'll want to"
    r"|you'll have to|you have to|you only have to|all you need to do is|feel free to|go ahead and|make sure to"
    r"|be sure to|remember to|don't forget to|try to|i(?:'d)? (?:recommend|suggest) you|want to|would you like to"
    r"|to do (?:so|this|that)"
    r"|from here|when (?:you're )?ready|step \d+)\W+)"
)
_INSTRUCTION: Final = re.compile(
    rf"\W*{_LEAD_IN}{{0,6}}(?:"
    rf"(?:click|tap|press|double-click|right-click|long-press|drag(?: and drop)?|hover|scroll|swipe|toggle)\**\s+"
    rf"(?:{_OBJECT_START}|{_MARKED_NAME}|{_BUTTON})"
    rf"|(?:drop|place)\s+(?:it|them|the|your|that|this)\b[^\x00]{{0,80}}\b(?:on|onto|into|in|at)\b[^\x00]{{0,80}}"
    rf"(?:{_SCREEN}|track\b)"
    rf"|(?:preview|export|download|play back)\s+(?:the|your|it|them|this|everything)\b"
    rf"|(?:open|select|choose|pick|hit|go|head|navigate|switch|use|see|view|check|play|look|find|visit|adjust|return"
    rf"|watch|locate|enable)\**"
    rf"\s(?:{_MARKED_NAME}|{_BUTTON}|[^\x00]{{0,80}}\b{_SCREEN}|over to\b)"
    rf"|(?:fine-tune|tweak|change|manage|rename|save)\**\s[^\x00]{{0,80}}\b(?:in|on|from|under)\s{_PLACE}"
    rf"|you(?:'ll| will| can)? (?:also )?(?:find|see)\s[^\x00]{{0,80}}(?:button|panel|tab|menu|icon)s?\b"
    rf")"
    rf"|\W*(?:the|your)\s[^\x00]{{1,40}}?\bcan be (?:adjusted|changed|fine-tuned|found|seen|checked|saved)"
    rf"\s(?:in|on|from|under)\s{_PLACE}"
    rf"|\W*(?:the|an?|your)\s+[\W\x00]{{0,4}}"
    rf"(?:export|download|render|settings|preview|save|share|timeline|media|audio|text)?[\W\x00]{{0,60}}"
    rf"(?:button|panel|tab|menu|icon)\W{{1,4}}(?:is (?:in|at|on|located)|lets you|can be found|sits)\b",
    re.IGNORECASE,
)
_CAPITALISED_BUTTON: Final = re.compile(
    rf"\W*(?i:{_LEAD_IN}{{0,6}}(?:click|tap|press|hit|select|choose|open))\**\s+[A-Z][\w.+]*\W*(?!\w+ed\b)"
)
_CONDITION: Final = re.compile(
    r"\W*(?:(?:to|if|when|whenever|once|after|in order to|before|for|in the|from the|on the|under|at the)\b"
    r"|you can\W*$|next steps?\W*$"
    r"|(?:and|so|but|or|then|also|please)\W*$)",
    re.IGNORECASE,
)
_ZH_SCREEN: Final = (
    "(?:面板|按钮|按鈕|菜单|選單|时间线|时间轴|時間軸|设置|设定|编辑器|侧边栏|工具栏|标签|选项|窗口|图标|界面|页面|右上角|左上角|右下角|左下角"
    "|左侧|右侧|预览|导出|下载|账户|账号|账单|轨道|素材库|播放器|画布|充值|订阅|链接|\x00|【|\\*\\*)"
)
_ZH_PLACE: Final = "(?:面板|菜单|设置|设定|编辑器|侧边栏|工具栏|窗口|界面|页面|账户|账号|账单|素材库|播放器)"
_ZH_INSTRUCTION: Final = re.compile(
    rf"\W*(?:请|請|您|你|可以|可|只需|只要|需要|然后|接着|之后|最后|再|先|现在|也|直接|或者|或|并|就|即可|麻烦|建议|记得|去|来"
    rf"|随时|自行|满意后|完成后|确认无误后|确认后){{0,8}}"
    rf"(?:(?:在|到|从|通过)[^，。]{{0,30}}?{_ZH_SCREEN}[^，。]{{0,10}}?)?"
    rf"(?:(?:点击|點擊|单击|双击|轻点|点按|长按|点选|拖拽|拖动|拖曳|拖到|拖入|勾选|按下)(?!了|过|的|声|音|率)"
    rf"|(?:将|把)[^，。]{{0,40}}(?:拖拽|拖动|拖曳|拖到|拖入|拖至)"
    rf"|(?:打开|打開|选择|選擇|选中|进入|前往|切换到|使用|查看|检查|找到|播放)(?!了|过)[^，。]{{0,30}}{_ZH_SCREEN}"
    rf"|(?:[^，。已了]{{0,12}}?(?:可以|可|请))?(?:在|到|从|通过)[^，。]{{0,20}}?{_ZH_PLACE}[^，。]{{0,6}}?"
    rf"(?:查看|检查|查询|微调|调整|修改|更改|更换|设置|设定|管理|保存|选择|找到)(?!了|过|的|好|完|成)"
    rf"|(?:预览|導出|导出|下载)(?!了|过|的|已|完成|成功|按钮|$)|(?:在)?[^，。]{{0,20}}(?:时间线|时间轴|播放器|面板|窗口)(?:中|上|里|内)?(?:预览|查看))"
    r"|[^\w\x00]*(?:导出|下载|保存|分享|预览|渲染|\x00{2,60})(?:按钮|面板|菜单)就?(?:在|位于)[^，。]{0,8}[角侧部边方]\W*$"
)
_ZH_CONDITION: Final = re.compile(r"\W*(?:如果|如需|若|要|想|想要|当|需要)|.{0,30}(?:后|之后|时|的话|好了|满意)\W*$")
# A gesture starts where a clause does: "click the Preview button" holds one, not two.
_GESTURE: Final = re.compile(
    r"(?:^|(?<=[,;:.] )|\b(?:and|then|or|can|please|simply|just|now) (?:then )?)\**"
    r"((?:double-|right-|long-)?(?:click|tap|press)|hit|drag and drop|drag|drop|place|open|select|choose|pick|go|head"
    r"|navigate|switch|use|preview|export|download|play|check|view|see|watch|find|visit|scroll|toggle|adjust)\b"
    r"|(?=点击|點擊|单击|双击|轻点|点按|长按|点选|拖拽|拖动|拖曳|拖到|拖入|拖至|勾选|按下|打开|打開|选择|選擇|选中|进入|前往|切换到|在[^，。]{0,20}(?:面板|窗口))",
    re.IGNORECASE,
)
_PURPOSE: Final = re.compile(r"\sto\s(?=\w+\s(?:the|your|it|them|this|that|an?|all|any)\b)")
# The other gestures stand for what is done with every row anyway: its state, its timeline and the credits are read, and
# it is exported.
_HANDED_BACK: Final = tuple(
    (is_handed_back, re.compile(pattern, re.IGNORECASE))
    for is_handed_back, pattern in (
        (True, r"\bdrag|\bdrop (?!down)|\bplace\b|拖"),
        (False, r"^\W*(?:preview|play|watch)\b|时间[线轴].{0,6}(?:预览|播放)|预览(?!面板|窗口)"),
        (False, r"billing|\baccount|upgrade|credits?\b|subscri|top[- ]up|\bplans?\b"),
        (False, r"账户|账号|账单|积分|余额|充值|升级|订阅"),
        (False, r"\b(?:panel|tab|menu|side ?bar|settings|inspector|library)\b"),
        (False, r"面板|菜单|标签|设置|素材库|侧边栏"),
        (False, r"export|download|\bsave\b|\brender|\bmp4\b|\d{3,4}p\b|\b4k\b|导出|導出|下载|保存|渲染|输出"),
        (False, r"preview|\bplay\b|playback|\bplayer\b|\bwatch|预览|播放"),
        (True, r"\b(?:apply|generate|confirm|continue|start)\b|应用|生成|确认|确定"),
        (False, r"timeline|workspace|\beditor|\bpage\b|时间线|时间轴|轨道|编辑器|页面|界面"),
    )
)
_NOISE: Final = re.compile(
    r"(?!.*(?:\b(?:fixed|resolved|solved|worked|added)\b|已解决|已修复))(?:"
    r"\W*(?:(?:i'?m |we'?re )?(?:sorry|apologies)\W+(?:but )?)?(?:it (?:seems|looks like) )?"
    r"(?:(?:i|we)(?:'ve| have)? (?:just )?(?:encountered|ran into|hit|experienced|am experiencing)"
    r"|there (?:was|is|has been)|due to) "
    r"(?:an?|some) (?:temporary|brief|transient|technical|small|unexpected|minor|internal) (?:\w+ )?"
    r"(?:issues?|problems?|errors?|glitch|hiccup|difficult(?:y|ies))\b[^\n]{0,200}"
    r"|\W*(?:抱歉|对不起|很抱歉)?\W*(?:我|系统|服务|服務)?(?:刚刚|刚才|暂时)?(?:遇到|出现|發生|发生|碰到)了?(?:一个|一些|一點|一点|点)?"
    r"(?:临时|臨時|暂时|短暂|技术|小)(?:性)?(?:的)?(?:技术|系统|小)?(?:问题|問題|故障|错误|錯誤|状况)[^\n]{0,100})",
    re.IGNORECASE,
)


def is_noise(text: str) -> bool:
    """Whether this is the "temporary issue" message that the agent sometimes adds after a normal answer."""
    return len(text) < _LONGEST_CLAUSE and _NOISE.fullmatch(text.strip().replace("’", "'")) is not None


def _masked(line: str) -> str:
    """The line with its quoted text masked, at the same length."""
    masked = _QUOTED.sub(lambda match: _MASK * len(match[0]), line.replace(_MASK, " "))
    return masked.replace("’", "'")


def _spans(text: str, separator: re.Pattern[str], start: int, stop: int) -> Iterator[tuple[int, int]]:
    for match in separator.finditer(text, start, stop):
        yield start, match.end()
        start = match.end()
    if start < stop:
        yield start, stop


def _is_instruction(clause: str, masked: str) -> bool:
    if len(clause) > _LONGEST_CLAUSE:
        return False
    return any(pattern.match(masked) is not None for pattern in (_INSTRUCTION, _CAPITALISED_BUTTON, _ZH_INSTRUCTION))


def _is_condition(masked: str) -> bool:
    return _CONDITION.match(masked) is not None or _ZH_CONDITION.match(masked) is not None


def _screen_talk_start(line: str, masked: str, start: int, stop: int) -> int:
    """Where a sentence's screen talk starts: at its first instruction or the condition before it; else its end."""
    talk_start = start
    for left, right in _spans(masked, _CLAUSE_END, start, stop):
        if _is_instruction(line[left:right], masked[left:right]):
            return talk_start
        if not _is_condition(masked[left:right]):
            talk_start = right
    return stop


def _with_full_stop(kept: str) -> str:
    """Replace the dangling punctuation of a sentence that lost its end with a full stop."""
    bare = kept.rstrip(" \t,:;，：；、—–")
    mark = "。" if re.search("[一-鿿]", bare[-3:]) else "."
    return bare if len(bare) == len(kept) or not bare or bare[-1] in ".!?。！？*" else bare + mark


def _strip_line(line: str) -> tuple[str, list[str]]:
    """Split a line into the text to keep and its screen talk."""
    bullet = _BULLET.match(line)
    start = bullet.end() if bullet else 0
    masked, kept, screen_talk = _masked(line), [], []
    for left, right in _spans(masked, _SENTENCE_END, start, len(line)):
        cut = _screen_talk_start(line, masked, left, right)
        if cut < right:
            screen_talk.append(line[cut:right].strip())
        kept.append(line[left:right] if cut == right else _with_full_stop(line[left:cut]))
    if not screen_talk:
        return line, []
    body = "".join(kept).strip()
    return (line[:start] + _with_full_stop(body) if body.strip("*_ ") else ""), screen_talk


def _is_intro(line: str) -> bool:
    bare = line.rstrip(" *_")
    return bare.endswith((":", "：")) or bare.startswith("#")


def _drop_orphans(lines: list[tuple[str, bool]]) -> Iterable[str]:
    """The remaining lines, without introductions ("Next steps:") to nothing but removed lines."""
    remaining: list[str] = []
    # Going backwards: does kept text follow, and were lines removed since the last kept line?
    kept_follows, removed_follow = False, False
    for line, was_removed in reversed(lines):
        if was_removed:
            removed_follow = True
        elif not line.strip():
            kept_follows = kept_follows and removed_follow  # a blank line ends an introduction's block
            remaining.append(line)
        elif not (_is_intro(line) and removed_follow and not kept_follows):
            kept_follows, removed_follow = not _is_intro(line), False
            remaining.append(line)
    return reversed(remaining)


def _strip(reply: str) -> tuple[str, list[str]]:
    lines: list[tuple[str, bool]] = []
    screen_talk: list[str] = []
    in_code = False
    for line in reply.split("\n"):
        is_fence = line.lstrip().startswith("```")
        in_code ^= is_fence
        kept, talk = (line, []) if in_code or is_fence else _strip_line(line)
        lines.append((kept, bool(talk) and not kept))
        screen_talk += talk
    if not screen_talk:
        return reply.strip(), []
    return re.sub(r"\n{3,}", "\n\n", "\n".join(_drop_orphans(lines))).strip(), screen_talk


def _gestures(screen_talk: str) -> Iterator[str]:
    """Split screen talk into single gestures: "open the panel and click Export" has two."""
    starts = [match.start(match.lastindex or 0) for match in _GESTURE.finditer(screen_talk)] or [0]
    for left, right in zip(starts, [*starts[1:], len(screen_talk)], strict=True):
        yield screen_talk[left:right]


def _is_handed_back(gesture: str) -> bool:
    """Whether the agent has to do this itself: by its object, or else by its purpose ("to download the video")."""
    for text in (_PURPOSE.split(gesture, maxsplit=1)[0], gesture):
        for is_handed_back, pattern in _HANDED_BACK:
            if pattern.search(text):
                return is_handed_back
    return True


def _follow_up(gestures: Iterable[str]) -> str:
    """A message that hands the gestures back: the agent can do the same itself, and nobody sits at a screen."""
    cleaned = (re.sub(r"[*_\s]+", " ", gesture).strip(" .,;。，；:：!！") for gesture in gestures)
    request = "; ".join(re.sub(r",? (?:and|or|then)$", "", gesture) for gesture in cleaned)[:_LONGEST_FOLLOW_UP]
    if not request:
        return ""
    if re.search("[一-鿿]", request):
        return f"请你直接在项目里完成这一步，不需要我操作界面：{request}。"
    return f"Please do this yourself, directly in the project: {request}."


def parse_reply(reply: str) -> ParsedReply:
    """Parse a reply sentence by sentence: keep descriptions, hand back what the agent has to do itself."""
    kept, screen_talk = _strip(reply)
    while True:  # until nothing more is found, so that parsing the kept text again changes nothing
        stripped, more = _strip(kept)
        screen_talk += more
        if stripped == kept:
            break
        kept = stripped
    gestures = (gesture for sentence in screen_talk for gesture in _gestures(sentence))
    return ParsedReply(kept, _follow_up(filter(_is_handed_back, gestures)))
