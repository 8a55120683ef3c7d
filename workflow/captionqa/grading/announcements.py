"""Announcements: the explicit cues that come before an answer, such as "the answer is", "Answer:" or "I choose"."""

import re
from collections.abc import Iterator
from typing import NamedTuple

#: Marks and verbs that connect a cue with the answer: a colon, "is", "must be", "remains".
_IS = (
    r"(?:[\"']?\s?(?:[:=]|[-–—]{1,2}>?(?=\s)|→)|\sis(?=n't)|(?:'s|\s(?:is|was|(?:would|should|must|will|has\sto|appears\sto|seems\sto|"
    r"can\sonly|ought\sto)\sbe|remains|are|of(?=\s\(?[A-J]\b)))\b)"
)
#: "answer", "correct option", "best description" and their like with a verb, or just before a letter. Words may stand
#: between the two: "the answer to this question is" (`plain`), "the correct option that we see here is" (`gap`).
_CUE = re.compile(
    r"(?<![a-z])(?=[abcfilmnoprsvw])(?:answer|(?:correct|right|best|final|chosen|accurate|appropriate|suitable|my|valid|likely|logical|plausible|closest|nearest)\s"
    r"(?:option|choice|selection|response|letter|alternative|one|pick|guess)|(?:in)?correct\s(?!answer)[a-z]+|"
    r"only\s(?:(?:true|correct|possible)\s)?(?:statement|option|choice|one)|(?:correct|final|right)\s(?:answer|option)s(?=\sare)|"
    r"best\s(?:match|fit|description|statement|caption|title)|"
    r"(?:one|statement|option)\sthat\s(?:does\snot|doesn't|is\snot|isn't)\s\w+|"
    r"(?:false|wrong|odd)\s(?:one|statement|option)(?:\sout)?)(?!\w)"
    r"(?P<plain>\s(?:to|for|of)\s(?:the|this|your|that)\s(?:\w+\s)?question|\shere)?"
    rf"(?:(?P<gap>(?:,?\s(?!(?:is|was|which|could|might|may|cannot|depends)\b)[\w'’-]+){{1,9}}?)?{_IS}|(?=\s[(\[]?[a-j][)\]]?(?:[.,;:!)]|\s*$|\s*\n)))",
)
#: A line that is only a heading, after the end of the line before it: "## Final answer".
_HEADING = re.compile(
    r"\n[#> \t]*+(?:(?:the|my|final|correct|best)\s)*(?:answer|choice|option|conclusion|result)[ ]?:?[ ]?$",
    re.MULTILINE,
)
#: The opening of an answer in tags.
_TAG = re.compile(r"<answer>", re.IGNORECASE)
#: A line that ends with a colon, before a last line that begins with a label.
_COLON = re.compile(r":[ *]*\n+(?=[ *]*(?:\([a-j]\)|[a-j][).][ *])(?:(?![ (][a-j][).])[^\n])*\s*\Z)")
#: A first line that is a label, or begins with one in brackets, where no other line does: an answer before its reasons.
_FIRST_LINE = re.compile(
    r"\W*?(?=\([A-J]\)(?!\s(?:is|was|has)\b)(?![^\n]*\([A-J]\))|[A-J][).:]? *\n)"
    r"(?!(?s:.*)\n[ *-]*\(?[A-J](?:[).:]\s| *(?:\n|\Z)))"
)
#: "I choose", "I would go with", "my best guess is", "so pick".
_CHOOSE = re.compile(
    r"(?=[hilmstw])\b(?:(?:i|we)(?:'d|'ll|\swould|\swill|\scan|\smust|\sam|\sshould|\shave\sto)?\s(?:\w+ly\s|now\s|still\s)?"
    r"(?:choose|pick|select|chose|go(?:ing)?\swith|went\swith|opt\sfor|say|guess|think|believe|conclude|answer)|"
    r"(?:let's|let\sus)\s(?:choose|pick|select|go\swith|say)|my\s(?:best\s)?(?:guess|pick|choice)\sis|"
    r"(?:so|thus|therefore|hence),?\s(?:choose|pick|select|go\swith))"
    r"(?:\sthat)?(?:\s(?:it(?:'s|\sis|\smust\sbe|\sshould\sbe)))?(?=[\s:])",
)
#: Short names of an answer ("Result:", "ans."), and an order to choose it, that only a letter may follow.
_SHORT_NAME = re.compile(
    r"(?<![\w-])(?=[acfglprs\W\d_])(?:(?:guess|result|conclusion|solution|response|assistant|final|ans|pick|chosen|letter)\s?"
    r"(?::|\sis(?=\s\(?[a-j](?:[).,!*]|\s*\Z)))|ans\.|\A\W*(?:choose|select|pick|go(?:ing)?\swith)\s)"
)
#: "The answer is" in other languages.
_FOREIGN = re.compile(
    r"(?:答案|正解|解答|回答|答え|答|정답|답)(?:选项)?(?:应该?|应当|应为|就|便|只能|可能?)?(?:是|为|選|选|は|은|는|:|：)|"
    r"(?<![不没非])(?:故|所以|因此|应|应当|应该|综上|我|则|就)?(?:选择|选(?!项))(?:的?是)?(?=\s?[:(]?\s?[a-j])|"
    r"选项(?:应该?)?(?:是|为|:)|\[答案\]\s?:?|(?:所以|因此|故)(?=[a-j][。.，,\s]|[a-j]\Z)|"
    r"(?:错误|不正确|不符合[^。\n]{0,12}|不成立)的(?:说法|选项|一项)?(?:应该?)?(?:是|为)(?=\s?[a-j])|"
    r"正确的?(?:选项|答案|的)?(?:应该?)?(?:是|为|:)|"
    r"\b(?:respuesta|resposta|risposta|réponse|opción|opção|opzione|alternativa|antwort|lösung|option|antwoord|"
    r"odpowiedź|cevap|đáp\sán|câu\strả\slời|jawaban(?:nya)?|ответ|відповідь|"
    r"الإجابة)(?:\s(?:الصحيحة|yang\sbenar|benar|correcta?|correta|certa|corretta|giusta|exacta|exacte|final[ea]?|finale|"
    r"juste|bonne|richtige?|poprawna|doğru|đúng|juiste))*\s?(?::|(?:es|est|sería|serait|é|è|ist|lautet|is|là|adalah|هي|to|—|это)\s|"
    r"[-–—]\s)|"
    r"\bla\s(?:correcta|bonne\sréponse)\s(?:es|est)\s",
)
#: _FOREIGN is searched for only in a text that contains one of these, since looking for them is cheaper.
_FOREIGN_WORDS = (
    "所以", "因此", "故", "错误的", "不正确的", "不符合", "不成立",
    "答", "选", "選", "正解", "正确", "정답", "답", "respuesta", "resposta", "risposta", "réponse", "opción", "opção",
    "opzione", "alternativa", "antwort", "antwoord", "lösung", "option est", "option ist", "option correcte",
    "odpowiedź", "cevap", "đáp", "trả lời", "jawaban", "الإجابة", "ответ", "відповідь", "la correcta",
)  # fmt: skip
_ASCII_FOREIGN_WORDS = tuple(filter(str.isascii, _FOREIGN_WORDS))

#: How a text introduces what it says of each option.
GOES_THROUGH = re.compile(
    r"\b(?:(?:each|every)\s(?:(?:possible|given|available|answer)\s)*(?:option|choice|answer|statement)|"
    r"(?:all|the|these|those|given|possible|available)\s(?:(?:possible|given|available|answer)\s)*(?:options|choices|answers|"
    r"statements)|one\sby\sone|one\sat\sa\stime|step\sby\sstep)\b",
    re.IGNORECASE,
)


class Announcement(NamedTuple):
    """An explicit cue that an answer follows."""

    start: int
    end: int
    #: Whether what follows counts only if it is a letter, and not by an option's text.
    only_letter: bool


def announcements(text: str, low: str) -> Iterator[Announcement]:
    """All announcements of a text, in no order; `low` is the text in lower case."""
    for match in _CUE.finditer(low):
        yield Announcement(match.start(), match.end(), bool(match["gap"]))
    if first_line := _FIRST_LINE.match(text):
        yield Announcement(0, first_line.end(), True)
    for match in _HEADING.finditer(f"\n{low}"):
        yield Announcement(match.start(), match.end() - 1, False)
    for pattern in (_CHOOSE, _SHORT_NAME):
        for match in pattern.finditer(low):
            yield Announcement(match.start(), match.end(), True)
    for match in _COLON.finditer(low):
        begins_list = low[match.end() : match.end() + 4].strip(" *(").startswith("a")
        if not begins_list or not GOES_THROUGH.search(low, low.rfind("\n", 0, match.start()) + 1, match.start()):
            yield Announcement(match.start(), match.end(), True)
    for match in _foreign(low) + list(_TAG.finditer(low)):
        yield Announcement(match.start(), match.end(), False)


def end_of_last_announcement(text: str) -> int | None:
    """Where the last announcement ends and its answer begins; None without an announcement.

    This is for answers that are no letters, so announcements that only a letter may follow do not count.
    """
    low = text.lower()
    if len(low) != len(text):  # positions in one are not positions in the other
        return None
    ends = [match.end() for pattern in (_CUE, _TAG) for match in pattern.finditer(low)]
    ends += [match.end() - 1 for match in _HEADING.finditer(f"\n{low}")]
    ends += [match.end() for match in _foreign(low)]
    return max(ends, default=None)


def _foreign(low: str) -> list[re.Match[str]]:
    for word in _ASCII_FOREIGN_WORDS if low.isascii() else _FOREIGN_WORDS:
        if word in low:
            return list(_FOREIGN.finditer(low))
    return []
