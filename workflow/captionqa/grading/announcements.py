"""Cues: the statements of a text that announce its answer ("answer is", "B is correct"), and which of them holds."""

import re
from collections.abc import Iterator

from captionqa.grading.options import Kind, Options

Spans = list[tuple[int, int]]
#: A text that repeats itself without an end is read no further back than this.
LAST_CUES = 50
_TAGGED = re.compile(r"<answer>", re.IGNORECASE)
_IS = (
    r"(?:[\"']?\s?(?:[:=]|[-–—]{1,2}>?(?=\s)|→)|\sis(?=n't)|(?:'s|\s(?:is|was|(?:would|should|must|will|has\sto|appears\sto|seems\sto|"
    r"can\sonly|ought\sto)\sbe|remains|are|of(?=\s\(?[A-J]\b)))\b)"
)
_CUE = re.compile(
    r"(?<![a-z])(?=[abcfimrvlpos])(?:answer|(?:correct|right|best|final|chosen|accurate|appropriate|suitable|my|valid|likely|logical|plausible|closest)\s"
    r"(?:option|choice|selection|response|letter|alternative|one|pick|guess)|(?:in)?correct\s(?!answer)[a-z]+|"
    r"only\s(?:(?:true|correct|possible)\s)?(?:statement|option|choice|one)|(?:correct|final|right)\s(?:answer|option)s(?=\sare)|"
    r"best\s(?:match|fit|description|statement|caption|title))(?!\w)"
    r"(?P<plain>\s(?:to|for|of)\s(?:the|this|your|that)\s(?:\w+\s)?question|\shere)?"
    rf"(?:(?P<gap>(?:,?\s(?!(?:is|was|which|could|might|may|cannot|depends)\b)[\w'’-]+){{1,9}}?)?{_IS}|(?=\s[(\[]?[a-j][)\]]?(?:[.,;:!)]|\s*$|\s*\n)))",
)
_HEADING = re.compile(
    r"^[#> \t]*+(?:(?:the|my|final|correct|best)\s)*(?:answer|choice|option|conclusion|result)[ ]?:?[ ]?$",
    re.IGNORECASE | re.MULTILINE,
)
#: What leads to a label at the beginning of the last line.
_COLON = re.compile(r":[ *]*\n+(?=[ *]*(?:\([a-j]\)|[a-j][).][ *])(?:(?![ (][a-j][).])[^\n])*\s*\Z)")
#: A first line that is a label, or begins with one in brackets, and no other line does: the answer before its reasons.
_FIRST = re.compile(
    r"\W*?(?=\([A-J]\)(?!\s(?:is|was|has)\b)(?![^\n]*\([A-J]\))|[A-J][).:]? *\n)"
    r"(?!(?s:.*)\n[ *-]*\(?[A-J](?:[).:]\s| *(?:\n|\Z)))"
)
_CHOOSE = re.compile(
    r"\b(?:(?:i|we)(?:'d|'ll|\swould|\swill|\scan|\smust|\sam|\sshould|\shave\sto)?\s(?:\w+ly\s)?"
    r"(?:choose|pick|select|chose|go(?:ing)?\swith|went\swith|opt\sfor|say|guess|think|believe|conclude|answer)|"
    r"(?:let's|let\sus)\s(?:choose|pick|select|go\swith|say)|my\s(?:best\s)?(?:guess|pick|choice)\sis|"
    r"(?:so|thus|therefore|hence),?\s(?:choose|pick|select|go\swith))"
    r"(?:\sthat)?(?:\s(?:it(?:'s|\sis|\smust\sbe|\sshould\sbe)))?(?=[\s:])",
)
#: Short names of an answer, and an order to choose it, that only a letter may follow.
_NAMED = re.compile(
    r"(?<![\w-])(?:(?:guess|result|conclusion|solution|response|assistant|final|ans|pick|chosen|letter)\s?"
    r"(?::|\sis(?=\s\(?[a-j](?:[).,!*]|\s*\Z)))|ans\.|\A\W*(?:choose|select|pick|go(?:ing)?\swith)\s)"
)
#: "answer is" in other languages; all of them name the letter next.
_FOREIGN = re.compile(
    r"(?:答案|正解|解答|回答|答え|答|정답|답)(?:选项)?(?:应该?|应当|应为|就|便|只能|可能?)?(?:是|为|選|选|は|은|는|:|：)|"
    r"(?<![不没非])(?:故|所以|因此|应|应当|应该|综上|我|则|就)?(?:选择|选(?!项))(?:的?是)?(?=\s?[:(]?\s?[a-j])|"
    r"选项(?:应该?)?(?:是|为|:)|\[答案\]\s?:?|"
    r"正确的?(?:选项|答案|的)?(?:应该?)?(?:是|为|:)|"
    r"\b(?:respuesta|resposta|risposta|réponse|opción|opção|opzione|alternativa|antwort|lösung|option|antwoord|"
    r"odpowiedź|cevap|đáp\sán|câu\strả\slời|jawaban(?:nya)?|ответ|відповідь|"
    r"الإجابة)(?:\s(?:الصحيحة|yang\sbenar|benar|correcta?|correta|certa|corretta|giusta|exacta|exacte|final[ea]?|finale|"
    r"juste|bonne|richtige?|poprawna|doğru|đúng|juiste))*\s?(?::|(?:es|est|sería|serait|é|è|ist|lautet|is|là|adalah|هي|to|—|это)\s|"
    r"[-–—]\s)|"
    r"\bla\s(?:correcta|bonne\sréponse)\s(?:es|est)\s",
)
#: Several options or none are right, so that no single one is.
_ALL_OR_NONE = re.compile(
    r"\b(?:all|none|both|neither|two|three)\s(?:of\s)?(?:(?:the|these|given|four|five|above)\s){0,3}"
    r"(?:options|statements|choices|answers)\b(?:\s\([a-j]\),?|\sand)*\s(?:are|is|should)\b",
)
_LABEL_BEFORE = re.compile(r"[A-Ja-j][).:]\s?\Z")
_FOREIGN_REMARK = re.compile(r"(?:选项|只有)([A-J])(?![和、与及])(?:(?!选项|不|错)[^。\n]){0,60}?(?:正确|符合)")
#: One of these is part of each of the cues above, and cheaper to look for.
_FOREIGN_WORDS = [
    "答",
    "选",
    "選",
    "正解",
    "正确",
    "정답",
    "답",
    "respuesta",
    "resposta",
    "risposta",
    "réponse",
    "opción",
    "opção",
    "opzione",
    "alternativa",
    "antwort",
    "antwoord",
    "lösung",
    "option est",
    "option ist",
    "option correcte",
    "odpowiedź",
    "cevap",
    "đáp",
    "trả lời",
    "jawaban",
    "الإجابة",
    "ответ",
    "відповідь",
    "la correcta",
]
_SUBJECT = re.compile(
    r"(?:(?:\((?P<paren>[A-J])\)|(?<![\w'(/.-])(?P<letter>[A-J])(?![\w'])(?P<stop>[.):])?))"
    r"(?P<gap>(?:\s?\([^()\n]{1,80}\)|[,:]?\s(?:(?!\b(?:[A-J]|whether|cannot|impossible|without|unless|but|not)\b)[^.!?\n]){1,80}?))??,?\s"
    r"(?:(?:is|must\sbe|would\sbe|should\sbe|has\sto\sbe|appears\sto\sbe|seems\sto\sbe|seems|as)\s"
    r"(?:(?:clearly|definitely|indeed|therefore|thus|hence|the|only|most|our|my|obviously|likely|actually|probably|single|also|"
    r"best|very)\s){0,4}(?:correct(?!ly)|right(?!\s(?:of|side|next|above|below|angle|triangle|hand|now)|-)|best|answer|"
    r"accurate|appropriate|suitable|correct\sanswer|fitting|match)(?!\s(?:about|in|that|for|but|if|unless))\b|"
    r"(?:best\s)?(?:matches|fits)\s(?:best|the\s(?:description|image|picture)))"
)
#: What may stand before a letter that is the option; after another noun ("point B") it is something else.
_BEFORE_LETTER = re.compile(
    r"(?:option|choice|answer|letter|alternative|so|thus|therefore|hence|that|only|because|and|but|then|conclude|think|"
    r"believe|means|since|see|clearly)"
)
_LABELS = ("option", "choice", "answer", "letter", "alternative")
_NOT_BEFORE = re.compile(r"(?:\bnot|n't|\bnever)\s\Z", re.IGNORECASE)
_POINTS_TO = re.compile(
    r"\b(?:(?:corresponds?(?:ing)?\sto|match(?:es|ing)?(?:\swith)?|which\sis|that\sis|that's|this\sis|leads?\sto|"
    r"leaves(?:\sus\swith)?|points\sto|closest\sto|(?:mentioned|stated|described|given)\sin|"
    r"would\sbe|must\sbe|\bis|namely|i\.e\.)[,:]?\s(?:with\s)?(?:the\s)?(?:correct\s)?(?=option|choice|answer|\()|"
    r"(?:is|be)\s(?=\([a-j]\))|\((?=option\s[a-j]\))|"
    r"(?:therefore|thus|hence|so|consequently|in\sconclusion|overall|finally|wait|actually|correction|no|sorry|rather|"
    r"instead)[,:.!…—–-]*\s(?:it(?:'s|\sis|\smust\sbe|\sshould\sbe)\s|that(?:'s|\sis)\s)?(?:the\s)?"
    r"(?=(?:option\s|choice\s|answer\s)?[(\[]?[a-j][)\].,!\n])|"
    r"(?:therefore|thus|hence|so)[,:]?\s(?=option\s)|(?:it|that|this)(?:'s|\sis|\s(?:must|should|would)\sbe)\s"
    r"(?=(?:option\s|choice\s)?[(\[]?[a-j](?:[)\].,!\n]|\Z)))",
)
_VERDICT = re.compile(
    r"^[ \-•#>]*(?:option\s|choice\s)?[(\[]?([A-J])[)\].:,]+(?=\s)"
    r"(?!.*(?:\bnot\b|n't\b|incorrect|wrong|✗|❌|✘|\bfalse\b))"
    r".*?(?:\bcorrect\b|✅|✓|✔).*$",
    re.IGNORECASE | re.MULTILINE,
)
_CORRECTS = re.compile(
    r"\b(?:wait|actually|correction|sorry|hmm+|hold\son|on\ssecond\sthought|mistake|oops|let\sme\sre|re-?consider\w*|"
    r"re-?check\w*|no[,.:]|rather|however)\b",
)
_REVOKES = re.compile(
    r"\b(?:wait|hmm+|hold\son|actually)\b[^.!?\n]{0,60}?\b(?:wrong|incorrect|mistaken?|not\s(?:right|correct))\b|"
    r"\banswer\s(?:cannot|can't|can\snot)\sbe\b",
)
_CONCLUDES = re.compile(r"\b(?:therefore|thus|hence|so|consequently|conclu\w+|overall|finally)\b")
_SUPPOSED = re.compile(
    r"(?:\b(?:if|whether|suppos\w+|assum\w+|unless|say(?:s|ing)?\sthat|claim\w*|imagine|not|never|wrong|incorrect|other|"
    r"previous|possible|initial|first|does|could|might|may|cannot|can't|"
    r"(?:unable|impossible)\sto)|n't|不)\s(?:\w+\s)?(?:that\s)?(?:(?:the|a|my|your|its)\s)?(?:\w+\s)?\Z",
    re.IGNORECASE,
)
#: "The question that this can best answer is" what follows.
_CAN = re.compile(r"\b(?:can|to|will)\s(?:best\s)?\Z")
#: "If it is larger, the answer is B", unless it goes on to conclude: "if we look at it, we see that".
_CONDITION = re.compile(
    r"\W*(?:if|unless|assuming|suppos\w+)\b(?!.*\b(?:so|therefore|thus|hence|we|you|i)\b)", re.IGNORECASE | re.DOTALL
)


def last_cue(text: str) -> int | None:
    """Where the text that the last explicit cue announces begins, for answers that are no letters."""
    low = text.lower()
    if len(low) != len(text):
        return None
    ends = [match.end() for pattern in (_CUE, _HEADING, _TAGGED) for match in pattern.finditer(low)]
    if any(word in low for word in _FOREIGN_WORDS):
        ends += [match.end() for match in _FOREIGN.finditer(low)]
    return max(ends, default=None)


def read_cues(text: str, options: Options) -> tuple[str | None, bool]:
    """The letter that the last explicit statement commits to, and whether there is one, be it to no letter."""
    low = text.lower()
    quoted = options.quoted(low)
    letter, at, stated = _last_announcement(text, low, options, quoted)
    if letter:
        if not (correction := _CORRECTS.search(low, at)):
            return letter, True
        later = [other for start, other in _remarks(text, low, options, correction.start(), quoted)]
        if later:
            return later[-1], True
        return (None if _REVOKES.search(low, at) else letter), True
    remarks = _remarks(text, low, options, at, quoted)
    letters = {letter for _, letter in remarks}
    if len(letters) == 1:
        return letters.pop(), True
    if remarks:
        start, letter = remarks[-1]
        turned = low[max(0, start - 60) : start + 20]
        return (letter if _CONCLUDES.search(turned) or _CORRECTS.search(turned) else None), True
    return None, stated


def _last_announcement(text: str, low: str, options: Options, quoted: Spans) -> tuple[str | None, int, bool]:
    """The letter of the last "answer is" or "I choose", where it ends, and whether there is any such cue."""
    cut = unmatched = False  # a value that is no option takes no letter back that was given before it
    cues = [cue for cue in _announcements(text, low) if not _inside(cue[0], quoted)]
    for start, end, strict in sorted(cues, reverse=True)[:LAST_CUES]:
        is_heading = text[start].isupper() and text[start:end].endswith(":")
        if not is_heading and _is_supposed(text, start):
            cut = True
            continue
        is_verb = bool(_CAN.search(low, max(0, start - 12), start))
        reading = options.read(text, end, strict or unmatched or is_verb)
        if reading.kind is Kind.LETTER:
            return reading.letter, reading.end, True
        if reading.kind is Kind.NONE:
            return None, end, True
        unmatched = unmatched or reading.kind is Kind.UNMATCHED
        cut = cut or unmatched or reading.end < 0
    return None, 0, cut


def _announcements(text: str, low: str) -> Iterator[tuple[int, int, bool]]:
    """Start and end of each cue, and whether only a letter may follow."""
    for match in _CUE.finditer(low):
        yield match.start(), match.end(), bool(match["gap"])
    if first := _FIRST.match(text):
        yield 0, first.end(), True
    for match in _HEADING.finditer(low):
        yield match.start(), match.end(), False
    for pattern in (_CHOOSE, _COLON, _NAMED):
        for match in pattern.finditer(low):
            yield match.start(), match.end(), True
    for match in _TAGGED.finditer(low):
        yield match.start(), match.end(), False
    if any(word in low for word in _FOREIGN_WORDS):
        for match in _FOREIGN.finditer(low):
            yield match.start(), match.end(), False


def _remarks(text: str, low: str, options: Options, after: int, quoted: Spans) -> list[tuple[int, str | None]]:
    """Where the text calls a letter correct or arrives at one, in its order, and the letter; None for all or none."""
    found: list[tuple[int, str | None]] = []
    for match in _SUBJECT.finditer(text, after):
        letter = match["paren"] or match["letter"]
        words = text[max(0, match.start() - 24) : match.start()].rpartition("\n")[2].split()
        word = words[-1].lower().strip("(*\"'") if words else ""
        is_noun = word.isalpha() and not _BEFORE_LETTER.fullmatch(word)
        is_article = letter in "AI" and match["gap"] and not (match["paren"] or match["stop"] or word in _LABELS)
        if not is_noun and not is_article:
            found.append((match.start(), letter))
    for match in _POINTS_TO.finditer(low, after):
        if not _NOT_BEFORE.search(text, max(0, match.start() - 12), match.start()):
            reading = options.read(text, match.end(), strict=True)
            if reading.kind is Kind.LETTER:
                found.append((match.start(), reading.letter))
    found += [(match.start(), match[1].upper()) for match in _VERDICT.finditer(text, after)]
    if not text.isascii():
        found += [(match.start(), match[1]) for match in _FOREIGN_REMARK.finditer(text, after)]
    found = [remark for remark in found if not _inside(remark[0], quoted)]
    for match in _ALL_OR_NONE.finditer(low, after):
        if not _LABEL_BEFORE.search(text, max(0, match.start() - 6), match.start()):
            found.append((match.start(), options.starting(text, match.start()).letter))
    known = (None, *options.letters)
    return sorted(
        ((at, letter) for at, letter in found if letter in known and not _is_supposed(text, at)),
        key=lambda remark: remark[0],
    )


def _inside(at: int, spans: Spans) -> bool:
    return any(start <= at < end for start, end in spans)


def _is_supposed(text: str, start: int) -> bool:
    """Whether what follows is a condition, a doubt or a denial: "if the answer is B", "cannot say that"."""
    if _SUPPOSED.search(text[max(0, start - 40) : start].rpartition("\n")[2]):
        return True
    begin = max(text.rfind(sign, max(0, start - 200), start) for sign in (". ", "\n", "? ", "! "))
    return bool(_CONDITION.match(text[max(begin, start - 200, 0) : start]))
