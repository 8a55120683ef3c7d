r"""Unusual forms of choices in a question's text, rewritten to lines `A. x`, which choices.py reads."""

import re
from string import ascii_uppercase

from captionqa.list_text import parse_list

#: A line break in HTML, or one that was escaped twice. Small letters after \n make it a LaTeX command such as \neq.
_LINE_BREAK = re.compile(r"<(?:br|BR)\s*/?>|(?<!\\)\\n(?![a-z])|\r\n?")
#: Full-width capitals before a mark, which are letters of choices.
_FULL_WIDTH = re.compile(r"[\uff21-\uff3a](?=\s?[.)）:：、．\t])")
#: Letters in circles or brackets: Ⓐ, ⓐ, ⒜.
_CIRCLED_LETTER = re.compile(r"[\u24b6-\u24cf\u24d0-\u24e9\u249c-\u24b5]\s*")
_ANGLED = re.compile(r"<([A-Z])>\s*")
#: A number before a letter with a mark: "1) A: red".
_NUMBERED_LETTER = re.compile(r"^[ \t]*\d{1,2}[.)]\s+(?=[A-Z][.:)]\s)", re.MULTILINE)
#: A row of a Markdown table with a letter in its first cell.
_TABLE_ROW = re.compile(r"^[ \t]*\|\s*\**([A-Z])[.)]?\**\s*\|\s*([^|\n]+?)\s*\|[ \t]*$", re.MULTILINE)
_LIST_LINE = re.compile(r"^[^\[\n]*?(\[.*\])[ \t]*$", re.MULTILINE)
_LABELLED = re.compile(r"\s*\(?([A-Z])[.):]\s*(?=\S)")
#: A line that is a capital letter and a text after a blank or a tab, or on the next line.
_BARE_LETTER = re.compile(r"[ \t]*([A-Z])(?:[ \t]+(\S.*)|[ \t]*)")
_LINE_WITH_A = re.compile(r"\n[ \t]*A\s")
#: A number or Roman numeral that labels a line.
_NUMBER_LINE = re.compile(
    r"^[ \t]*(?:[(（]?(?P<digits>\d{1,2})[)）.、．:](?!\d)|(?P<circled>[\u2460-\u2473])|"
    r"[(（]?(?P<roman>[IVX]{1,5}|[ivx]{1,5})[)）.、．:])[ \t]*(?=\S)",
    re.MULTILINE,
)
#: A circled number within a line.
_CIRCLED_NUMBER = re.compile(r"(?<=\S)[ \t]*(?=[\u2461-\u2473])|(?<=[?？:：。.])[ \t]*(?=\u2460)")
#: Where numbers in brackets begin and go on within a line: "Which? (1) red (2) blue".
_FIRST_IN_BRACKETS = re.compile(r"[?？:：。.][ \t]*(?=[(（](?:1|i|I)[)）])")
_IN_BRACKETS = re.compile(r"[ \t]+(?=[(（](?:\d{1,2}|[ivx]{1,5}|[IVX]{1,5})[)）])")
_ROMAN = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X")
_QUESTION_MARK = re.compile(r"[?？]")


def one_form(question: str) -> str:
    """A question with `A. x` for letters in circles, angle brackets, full width, tables or the text of a list."""
    if "<" in question or "\\n" in question or "\r" in question:
        question = _LINE_BREAK.sub("\n", question)
        if len(found := _ANGLED.findall(question)) > 1 and found[:2] == ["A", "B"] and "</" not in question:
            question = _ANGLED.sub(r"(\1) ", question)
    if not question.isascii():
        question = _FULL_WIDTH.sub(lambda match: chr(ord(match[0]) - 0xFEE0), question)
        question = _CIRCLED_LETTER.sub(lambda match: f"({_letter_of(match[0][0])}) ", question)
    if "1" in question:
        question = _NUMBERED_LETTER.sub("", question)
    if "|" in question:
        question = _TABLE_ROW.sub(r"\1. \2", question)
    return _LIST_LINE.sub(_lines_of_list, question) if "[" in question else question


def lettered_lines(question: str) -> str:
    """A question with a mark after each letter that begins a line, where such lines follow one another from A on."""
    if not _LINE_WITH_A.search(question):
        return question
    lines = question.split("\n")
    for first, line in enumerate(lines):
        if not (match := _BARE_LETTER.fullmatch(line)) or match[1] != "A" or not any(lines[:first]):
            continue
        marked, at = lines[:first], first
        for letter in ascii_uppercase:
            match = _BARE_LETTER.fullmatch(lines[at]) if at < len(lines) else None
            if match is None or match[1] != letter:
                break
            at += 1
            text = match[2]
            if text is None and at < len(lines) and not _BARE_LETTER.fullmatch(lines[at]):
                text = lines[at]
                at += 1
            marked.append(f"{letter}. {text or ''}")
        if len(marked) - first > 1:
            return "\n".join(marked + lines[at:])
    return question


def renumbered(question: str) -> str:
    """A question with letters for the numbers or Roman numerals that label its last lines, from 1 on.

    Statements that a question asks about after listing them are left alone.
    """
    question = _CIRCLED_NUMBER.sub("\n", question)
    if first := _FIRST_IN_BRACKETS.search(question):
        question = f"{question[: first.end()]}\n{_IN_BRACKETS.sub(chr(10), question[first.end() :])}"
    labels: list[re.Match[str]] = []
    for label in _NUMBER_LINE.finditer(question):
        if _number_of(label) == 1:
            labels = [label]
        elif labels and _number_of(label) == len(labels) + 1 and label.lastgroup == labels[0].lastgroup:
            labels.append(label)
    if not 1 < len(labels) <= len(ascii_uppercase) or _QUESTION_MARK.search(question, labels[-1].end()):
        return question
    pieces, end = [], 0
    for letter, label in zip(ascii_uppercase, labels, strict=False):
        pieces += [question[end : label.start()], f"{letter}. "]
        end = label.end()
    return "".join([*pieces, question[end:]])


def _lines_of_list(match: re.Match[str]) -> str:
    """The lines of a list of labelled choices that is written as text; any other line as it is."""
    elements = parse_list(match[1]) or []
    labels = [_LABELLED.match(element) if isinstance(element, str) else None for element in elements]
    letters = "".join(label[1] if label else "-" for label in labels)
    if len(letters) < 2 or letters != ascii_uppercase[: len(letters)]:
        return match[0]
    return "\n".join([match[0][: match.start(1) - match.start()], *map(str, elements)])


def _letter_of(circled: str) -> str:
    """The letter in a circle or bracket, in capitals."""
    code = ord(circled)
    first = next(start for start in (0x24D0, 0x24B6, 0x249C) if start <= code)
    return ascii_uppercase[code - first]


def _number_of(label: re.Match[str]) -> int:
    if label["digits"]:
        return int(label["digits"])
    if label["circled"]:
        return ord(label["circled"]) - 0x245F
    roman = label["roman"].upper()
    return _ROMAN.index(roman) if roman in _ROMAN else 0
