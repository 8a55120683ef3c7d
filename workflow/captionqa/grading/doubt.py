"""Doubt: the words by which a text denies, supposes or rules out what it names."""

import re

#: A denial anywhere in a sentence.
DENIAL = re.compile(
    r"(?:\b(?:not|never|no|neither|nor|cannot|without|except|unlike|than|instead\sof|isn|aren|doesn|don|wasn)\b|n't|不|没|非)",
    re.IGNORECASE,
)
#: A denial, or what only may be; beside options, "it can be red" chooses none.
NEGATION = re.compile(rf"{DENIAL.pattern}|\bcan\b", re.IGNORECASE)
#: How a sentence continues after an option that it rules out or leaves open: "B is incorrect", "B could be".
RULED_OUT = re.compile(
    r"\s(?:might|may|could|cannot|can't|isn't|is\s(?:\w+\s)?(?:not|possible|plausible|incorrect|wrong|false|impossible|"
    r"unlikely|eliminated|ruled|out))\b"
)
#: What comes just before a statement that is supposed, denied or doubted, in lower case: "if the answer is".
_SUPPOSED = re.compile(
    r"(?:\b(?:if|whether|suppos\w+|assum\w+|unless|say(?:s|ing)?\sthat|claim\w*|imagine|not|never|wrong|incorrect|other|"
    r"previous|possible|initial|first|does|could|might|may|cannot|can't|"
    r"(?:unable|impossible)\sto|(?:student|someone|somebody|friend|colleague|people|user|teacher|he|she|they|one|some)\s"
    r"(?:\w+\s)?(?:say|said|think|thought|claim|argue|believe|suggest|answer)(?:s|ed)?)|n't|不)\s(?:\w+\s)?(?:that\s)?(?:(?:the|a|my|your|its)\s)?(?:\w+\s)?\Z",
)
#: "If it is larger, the answer is B", unless it goes on to conclude: "if we look at it, we see that".
_CONDITION = re.compile(
    r"\W*(?:if|unless|assuming|suppos\w+)\b(?!.*\b(?:so|therefore|thus|hence|we|you|i)\b)", re.IGNORECASE | re.DOTALL
)
#: How far back the words of _SUPPOSED are looked for.
_SUPPOSED_CHARACTERS = 40
#: How far back the beginning of the sentence is looked for.
_SENTENCE_CHARACTERS = 200


def is_supposed(text: str, start: int) -> bool:
    """Whether what begins at a place is a condition, a doubt or a denial: "if the answer is B", "cannot say that"."""
    first = max(0, start - _SENTENCE_CHARACTERS)
    line = max(first, text.rfind("\n", first, start))
    if line + 1 >= start:
        return False  # it begins its line
    if _SUPPOSED.search(text[max(line, start - _SUPPOSED_CHARACTERS) : start].lower()):
        return True
    begin = max(line, text.rfind(". ", line, start), text.rfind("? ", line, start), text.rfind("! ", line, start))
    return bool(_CONDITION.match(text[begin:start]))
