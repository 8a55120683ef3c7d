"""A model's output: what follows its reasoning, and the boxes in it."""

import re
from typing import NamedTuple

from captionqa.reasoning import REASONING_MARK

#: Only this much of an output's end is searched for cues and values, so that grading takes bounded time.
SEARCHED_CHARACTERS = 20_000
#: A further turn that the model makes up: "Human:", "user", a chat template's mark.
_NEXT_TURN = re.compile(
    r"(?<=\S)\s*\n\s*(?:#+\s?)?(?:(?:Human|User)\s*:|(?:user|human)[ \t]*\n)|"
    r"<\|(?:im_start|start_header_id)\|>\s*user|\[INST\]"
)
#: _NEXT_TURN is searched for only in a text that contains one of these, since looking for them is cheaper.
_TURN_WORDS = ("Human", "User", "human", "user", "[INST]")
#: What opens a box, also where its \b was read as a backspace, or any brace.
_BOX_OR_BRACE = re.compile(r"(?P<box>(?:\\f?boxed|\\fbox|\x08oxed|(?<![\\\w])boxed)\s*\{)|[{}]")
#: A box in the special tokens of GLM.
_GLM_BOX = re.compile(r"<\|begin_of_box\|>((?:(?!<\|begin_of_box).)*?)<\|end_of_box\|>", re.DOTALL)


class Box(NamedTuple):
    r"""The span of a \boxed{...} and that of its content."""

    start: int
    end: int
    content: tuple[int, int]


def without_reasoning(model_output: str) -> str | None:
    """What follows the model's reasoning, up to a further turn; None where the reasoning was never closed."""
    is_dialogue = any(word in model_output for word in _TURN_WORDS)
    if is_dialogue and (turn := _NEXT_TURN.search(model_output)):
        model_output = model_output[: turn.start()]
    if "<" not in model_output and "◁" not in model_output:
        return model_output
    marks = list(REASONING_MARK.finditer(model_output))
    closing = max((mark.end() for mark in marks if mark[1]), default=0)
    return None if any(not mark[1] and mark.start() >= closing for mark in marks) else model_output[closing:]


def boxes(text: str) -> list[Box]:
    """All balanced boxes in the order of their starts, found in one pass over the text."""
    if "box" not in text and "\x08oxed" not in text:
        return []
    found = []
    # for each open brace the span of the \boxed{ that it belongs to, None for another brace
    open_braces: list[tuple[int, int] | None] = []
    for match in _BOX_OR_BRACE.finditer(text):
        if match["box"]:
            open_braces.append(match.span())
        elif match[0] == "{":
            open_braces.append(None)
        elif open_braces and (box := open_braces.pop()):
            found.append(Box(box[0], match.end(), (box[1], match.start())))
    found += [Box(*match.span(), match.span(1)) for match in _GLM_BOX.finditer(text)]
    return sorted(found)


def last_boxes(text: str, between: re.Pattern[str]) -> list[str]:
    """The contents of the last box and of those before it that only `between` separates from the next; [] for none."""
    contents: list[str] = []
    following = None
    for box in reversed(boxes(text)):
        if following and not between.fullmatch(text, box.end, following.start):
            break
        contents.insert(0, text[slice(*box.content)].strip())
        following = box
    return contents
