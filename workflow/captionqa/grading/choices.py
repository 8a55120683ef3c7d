"""Choices: the options that a question's text lists."""

import re
from collections.abc import Sequence
from string import ascii_uppercase

from captionqa.grading.choice_forms import lettered_lines, one_form, renumbered
from captionqa.grading.plain_text import skip

#: The letters of the choices.
LETTERS = ascii_uppercase
#: Only this many labels A, from the end, are tried as the first label of the choices.
LAST_STARTS = 20
#: How far back what comes before a label is looked at.
_BEFORE_CHARACTERS = 40
#: A label: (A), A) or A. and similar forms, also in bold, in a list or after the word "Option".
_LABEL = re.compile(
    r"(?P<line>^[ \t]*(?:[-*•>][ \t]+)?(?:(?:option|choice|选项)[ \t]*)?)?(?P<bold>\*\*|__)?(?<![A-Za-z0-9_\\$^({\[-])"
    r"(?:(?P<open>[(（\[【])[ ]?(?P<inside>[A-Za-z])[ ]?[)）\]】]|(?P<letter>[A-Za-z])(?P<close>[*_]{2})?"
    r"(?P<mark>[.)）:：、．]|[ \t][-–—](?=[ \t])))(?:\*\*|__)?[.:：]?(?:\*\*|__)?(?P<gap>[ \t]*)",
    re.MULTILINE | re.IGNORECASE,
)
#: What ends the last choice: an empty line, or a line that says how to answer, asks a question or begins the answer.
_AFTER_CHOICES = re.compile(
    r"\n\s*\n|\n[\s*#(（\[]*(?:(?:answer|please|choose|select|respond|reply|give|note|hint|question|context|"
    r"your answer|explain|think|let's|solution|directly|pick|you\s(?:must|should|need|have|may|can|are|will)|"
    r"do(?:\snot|n't)|(?:the\s|your\s|my\s)?(?:single\s|most\s)?(?:correct\s|best\s|right\s|final\s)*(?:answer|option|choice)\b|"
    r"responda|responde|elija|elige|répond(?:s|ez)|antworte|wähle)\b|"
    r"(?:which|what|how|who|where|when|why)\b[^\n]*\?|"
    r"(?:assistant|user|human|system|model|output|response|result|reasoning|explanation|rationale)\s*[:：]|<\||"
    r"(?:put|output|write|provide|return|state|mark|indicate|use|show|present|place|enclose|box|end|finish|conclude|begin|"
    r"start|make\ssure|remember|format|submit|say|type|enter|report|circle|only|just|no|in|from|based|after|before|first|"
    r"then|finally|if)\b[^\n]*\b(?:answers?|answering|letters?|options?|choices?|box|boxed|respon(?:se|d)|format|"
    r"explanations?|reasoning|step)\b|"
    r"请|回答|答案|问题|提示|直接|从以上|注意|选择)",
    re.IGNORECASE,
)
#: The same within a line, where it must speak of answering, since an option may itself be a sentence.
_AFTER_INLINE = re.compile(
    r"[ \t]+(?:(?:please|answer|choose|select|respond|reply|give|output)\b[^\n]*\b(?:letter|option|choice|answer|box|"
    r"directly|only)|(?:the\s|your\s)?answer\s?:)",
    re.IGNORECASE,
)
#: A header just before the choices: "Options:".
_HEADER = re.compile(r"(?:choices|options|candidates|选项|選択肢|opciones)\W*\Z", re.IGNORECASE)
#: What must come before choices within a line: the end of a sentence, a mark, or the beginning of the text or a line.
_BEFORE_INLINE = re.compile(r"(?:[?？:：.。!！;；)）\]>*_\"'”]|\A|\n)\s*\Z")
#: Words after which a letter is the name of something and no label: "point", "between", "is".
_NAMES = re.compile(
    r"\b(?:points?|figures?|fig\.?|images?|panels?|lines?|segments?|angles?|triangles?|graphs?|pictures?|photos?|diagrams?|"
    r"parts?|sections?|statements?|options?|regions?|objects?|circles?|shapes?|arcs?|vertex|vertices|vitamins?|types?|"
    r"class|groups?|teams?|"
    r"persons?|players?|boxes|box|sets?|columns?|rows?|labell?ed|marked|named|between|from|to|of|in|at|than|and|or|the|by|"
    r"with|is|are|点|图|线|角)\s*\Z",
    re.IGNORECASE,
)
#: A text between two labels that only joins them: "A and B".
_JOINS = re.compile(r"[\s.,;:?!]*(?:and|or)?[\s.,;:?!]*\Z", re.IGNORECASE)
#: How a sentence goes on after the name of something: "A is".
_GOES_ON = re.compile(r"(?:and|or|is|are|has|have|was|were|to|in|on|of)\b", re.IGNORECASE)
#: The beginning of a part of an exercise: "(a) Find x. (b) Explain".
_TASK = re.compile(
    r"(?:find|calculate|compute|determine|state|explain|describe|show|prove|draw|what|how|why|which|write|name|list|"
    r"identify)",
    re.IGNORECASE,
)
#: The end of an instruction whose object follows: "solve (a) x", so that a small letter is a part of an exercise.
_ASKS = re.compile(
    r"\b(?:find|calculate|compute|determine|what\s(?:is|are)|state|give|show|solve|for|if|when)\W*\Z", re.IGNORECASE
)
#: What joins choices that are listed in a sentence: a comma, "or", a vertical bar.
_JOINT = re.compile(r"[,;，；|](?:\s*(?:or|and))?\s*\Z|\s(?:or|and)\Z", re.IGNORECASE)
_BLANKS = re.compile(r"\s*")
#: The marks of images at the end of a question, after its last choice.
_IMAGE_MARK = re.compile(r"(?:\s*<image(?:[\s_]?\d+)?>)+\s*\Z")


def parse_choices(question: str) -> list[str]:
    """The choices inside a question's text, in order; an empty list where there are none.

    Reads `A. x`, `A) x`, `A: x`, `A、x` and `(A) x`, in capitals or small letters, also in bold: one on each line, or
    within a line after a sentence or a header such as `Choices:`. The letters start at A and follow one another in the
    same form, so that the name of a point, a figure or a vitamin is not taken for a choice. Other forms, such as lines
    without marks after their letters, are read where these are not found; numbers and Roman numerals come last.
    """
    return lettered_choices(question) or _labelled_choices(renumbered(one_form(question)))


def lettered_choices(question: str) -> list[str]:
    """As parse_choices, without those that the question labels with numbers, of which a model names no letter."""
    question = one_form(question)
    if choices := _labelled_choices(question):
        return choices
    marked = lettered_lines(question)
    return [] if marked == question else _labelled_choices(marked)


def _labelled_choices(question: str) -> list[str]:
    labels = list(_LABEL.finditer(question))
    for by_line in (True, False):
        runs = [
            _run_of_labels(labels[at:], by_line)
            for at in [at for at, label in enumerate(labels) if _letter(label).upper() == "A"][-LAST_STARTS:]
            if _may_start(labels[at], by_line)
        ]
        for run in sorted(runs, key=lambda run: run[0].start(), reverse=True):
            if len(run) > 1 and (choices := _choice_texts(question, run, by_line)):
                return choices
    return []


def _letter(label: re.Match[str]) -> str:
    return label["inside"] or label["letter"]


def _form(label: re.Match[str]) -> tuple[str | None, str | None, bool]:
    """What the labels of one list have in common: opening bracket, closing mark, and whether they are capitals."""
    mark = {"．": ".", "：": ":", "）": ")"}.get(label["mark"], label["mark"])
    return {"（": "(", "【": "["}.get(label["open"], label["open"]), mark, _letter(label).isupper()


def _may_start(label: re.Match[str], by_line: bool) -> bool:
    """Whether a list of choices may begin with this label, judged by what comes before it."""
    if label["line"] is not None or by_line:
        return label["line"] is not None
    before = label.string[max(0, label.start() - _BEFORE_CHARACTERS) : label.start()]
    if _HEADER.search(before):
        return True
    if _letter(label).islower() and (label["mark"] not in (None, ")") or _ASKS.search(before)):
        return False
    if label["open"] and before[-1:].isspace():
        return True
    return bool(_BEFORE_INLINE.search(before)) and not _NAMES.search(before)


def _run_of_labels(labels: Sequence[re.Match[str]], by_line: bool) -> list[re.Match[str]]:
    """The first label and those that continue it with B, C, ... in the same form."""
    run, form = [labels[0]], _form(labels[0])
    for label in labels[1:]:
        if len(run) == len(LETTERS):
            break
        fits = _letter(label).upper() == LETTERS[len(run)] and _form(label) == form
        if fits and (label["line"] is not None or _may_follow(label, by_line)):
            run.append(label)
    return run


def _may_follow(label: re.Match[str], by_line: bool) -> bool:
    """Whether a label within a line may continue a list; if each label has a line of its own, only after a wide gap."""
    before = label.string[max(0, label.start() - 2) : label.start()]
    if by_line:
        return before in ("  ", "\t\t") or before[-1] == "\t" or before.rstrip()[-1:] > "\u2e80"
    tight = (
        label["mark"] in (".", ":") and not label["gap"] and not label.string[label.end() : label.end() + 1].isalnum()
    )
    return not tight and (before[-1].isspace() or before[-1] in ";,*_；，。" or before[-1] > "\u2e80")


def _choice_texts(question: str, run: Sequence[re.Match[str]], by_line: bool) -> list[str]:
    """The texts that follow the labels of a run; [] where one is empty or the labels belong to a sentence."""
    last, end = run[-1], len(question)
    begin = skip(_BLANKS, question, last.end())
    for pattern in (_AFTER_CHOICES,) if by_line else (_AFTER_CHOICES, _AFTER_INLINE):
        if after := pattern.search(question, begin, end):
            end = after.start()
    ends = [label.start() for label in run[1:]] + [end]
    texts = [question[label.end() : stop].strip() for label, stop in zip(run, ends, strict=True)]
    if last["bold"]:
        texts = [text.removesuffix("**").removesuffix("__").strip() for text in texts]
    if not by_line and all(_JOINT.search(text) for text in texts[:-1]):
        texts = [_JOINT.sub("", text).rstrip() for text in texts[:-1]] + [texts[-1].rstrip("?").strip()]
    if not any(_IMAGE_MARK.search(text) for text in texts[:-1]):
        texts[-1] = _IMAGE_MARK.sub("", texts[-1])
    return [] if not all(texts) or (not by_line and _is_prose(run, texts)) else texts


def _is_prose(run: Sequence[re.Match[str]], texts: Sequence[str]) -> bool:
    """Whether labels within a line are names in a sentence or parts of an exercise, and no list of choices."""
    before = run[0].string[max(0, run[0].start() - _BEFORE_CHARACTERS) : run[0].start()]
    if _HEADER.search(before):
        return False
    if any(_JOINS.match(text) for text in texts[:-1]):
        return True
    if _letter(run[0]).islower() and any(text.endswith("?") or _TASK.match(text) for text in texts):
        return True
    return len(run) == 2 and bool(_GOES_ON.match(texts[0]) or _NAMES.search(before))
