"""The reasoning that a model writes before its final words: how it is marked, and told from them."""

import re

#: The marks around a model's reasoning: <think>, </think>, and the same in ◁▷.
REASONING_MARK = re.compile(r"[<◁](/?)(?:think|thinking|thought|reasoning)[>▷]")
#: The beginning of an output that reasons first.
_BEGINS_REASONING = re.compile(rf"\s*{REASONING_MARK.pattern}")


def split_reasoning(model_output: str) -> tuple[str, str | None]:
    """(the reasoning without its marks, what follows it); the second is None where the reasoning was never closed.

    An output without a closing mark is reasoning if it begins with an opening one; elsewhere that is a word.
    """
    if "<" not in model_output and "◁" not in model_output:
        return "", model_output
    closing = [mark for mark in REASONING_MARK.finditer(model_output) if mark[1]]
    if closing:
        thinking, text = model_output[: closing[-1].start()], model_output[closing[-1].end() :].lstrip()
    elif _BEGINS_REASONING.match(model_output):
        thinking, text = model_output, None
    else:
        return "", model_output
    return REASONING_MARK.sub("", thinking).strip(), text
