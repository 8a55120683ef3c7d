"""Plain text: what a model or a question file wrote, without the markup that only styles it."""

import re

from captionqa.grading.signs import MINUS_SIGNS

#: Full-width letters and punctuation, curly quotation marks, special spaces and signs of minus, to their ASCII
#: counterparts.
_TO_ASCII = (
    {chr(sign): minus for sign, minus in MINUS_SIGNS.items()}
    | {chr(0xFF21 + step): chr(ord("A") + step) for step in range(26)}
    | {chr(0xFF41 + step): chr(ord("a") + step) for step in range(26)}
    | dict(zip("（）：，．；！？【】［］‘’“”\u00a0\u202f\u3000İ", "():,.;!?[][]''\"\"   I", strict=True))
)
#: One of them; str.translate would look up each character of a text.
_ASCII_LIKE = re.compile(f"[{''.join(_TO_ASCII)}]")
#: HTML tags that style text, and special tokens such as <|im_end|> and <eoa>.
_TAG = re.compile(r"</?(?:b|i|u|em|strong|p|br|span|center|eo[ae]|\|\w+\|)\s*/?>", re.IGNORECASE)
#: A letter between angle brackets or equals signs: <B>, ==B==.
_MARKED_LETTER = re.compile(r"(?:<|==)([A-Z])(?:>|==)(?![^\n]*</)")
#: The end of an answer in tags; what follows it is put on a line of its own.
_ANSWER_CLOSES = re.compile(r"</answer>", re.IGNORECASE)
#: Two or more empty lines, of which one is kept.
_EMPTY_LINES = re.compile(r"\n(?: ?\n){2,}+")
#: A run of blanks that is not already one space.
_BLANKS = re.compile(r"[\t\r\f\v][ \t\r\f\v]*| [ \t\r\f\v]+")
#: LaTeX commands whose argument is kept: \text{}, \mathbf{}.
_STYLED = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:rm|bf|sf|it|bb|tt)|operatorname|emph|boldsymbol|mbox)\s*\{([^{}]*)\}"
)
#: LaTeX commands that style without an argument of their own: \left, \displaystyle.
_STYLE = re.compile(r"\\(?:left|right|big|Big|bigg|displaystyle|bf|rm)(?![a-zA-Z])")
#: Spaces in LaTeX: \, \quad ~
_SPACE = re.compile(r"\\(?<!\\\\)(?:[,;:! ]|quad\b|qquad\b)|~")
_DEGREE = re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\degree\b")
#: Words of one line without any markup, as most choices are.
_PLAIN_WORDS = re.compile(r"[A-Za-z0-9.,;:!?()'\"/%+-]++(?: [A-Za-z0-9.,;:!?()'\"/%+-]++)*+")
#: Wrappers such as \text{\textbf{}} are unwrapped to this depth.
_NESTED_STYLES = 3


def skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    """The end of what a pattern matches at a place; the place itself where it matches nothing."""
    match = pattern.match(text, at)
    return match.end() if match else at


def without_latex_style(text: str) -> str:
    r"""A text without the LaTeX that only styles it: \text{}, \textbf{}, \left, spaces and dollar signs."""
    if "\\" in text or "~" in text:
        text = text.replace("\\$", "").replace("\\%", "%").replace("\\(", "").replace("\\)", "")
        text = text.replace("\\[", "").replace("\\]", "").replace("\\_", "_").replace("\\&", "&")
        text = _DEGREE.sub("°", _SPACE.sub(" ", _STYLE.sub("", text)))
        for _ in range(_NESTED_STYLES):
            text, replaced = _STYLED.subn(r"\1", text)
            if not replaced:
                break
    return text.replace("$", "")


def plain_text(text: str) -> str:
    """A text without styling by Markdown, tags or LaTeX; runs of blanks become one blank, lines stay."""
    if not text.isascii():
        text = _ASCII_LIKE.sub(lambda sign: _TO_ASCII[sign[0]], text)
    if "<" in text or "==" in text:
        text = _MARKED_LETTER.sub(r"\1", text)
    if "<" in text:
        text = _TAG.sub("", _ANSWER_CLOSES.sub("\n", text))
    if "***" in text:
        text = text.replace("***", "")
    text = without_latex_style(text).replace("**", "").replace("__", "").replace("`", "")
    if "  " in text or "\t" in text or "\r" in text or "\f" in text or "\v" in text:
        text = _BLANKS.sub(" ", text)
    return _EMPTY_LINES.sub("\n\n", text) if "\n" in text else text


def plain_line(text: str) -> str:
    """A text in plain text on one line, with one blank between two words."""
    return text if _PLAIN_WORDS.fullmatch(text) else " ".join(plain_text(text).split())
