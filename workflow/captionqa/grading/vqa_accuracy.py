"""VQA accuracy: how many of ten people gave the model's answer.

Antol et al. 2015, VQA: Visual Question Answering, ICCV, and its evaluation code: an answer is fully right if at least
three people gave it, averaged over all choices of nine of the ten people. Texts are normalized as that code does it.
"""

import re
from collections.abc import Sequence

#: Answers of other people that make an answer fully right.
ENOUGH_PEOPLE = 3
#: With fewer answers no answer would be fully right, since each person's own is left out in turn.
MIN_ANSWERS = ENOUGH_PEOPLE + 1
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
#: A comma between digits, which makes the evaluation code remove punctuation instead of putting a blank for it.
_DIGIT_COMMA = re.compile(r"\d,\d")
#: A period that is no decimal point.
_PERIOD = re.compile(r"\.(?!\d)")
_ARTICLES = frozenset({"a", "an", "the"})
_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"none": "0"}
#: Contractions by their spelling without apostrophes. As in the evaluation code, those that are another word without
#: are left out: its, were, well, ill, shed, hell, shell, wed.
_CONTRACTIONS = {
    word.replace("'", ""): word
    for word in (
        "ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd "
        "he'd've he's how'd how'll how's I'm I've isn't it'd it'd've it'll let's ma'am mightn't mightn't've might've "
        "mustn't must've needn't not've o'clock oughtn't shan't she'd've should've shouldn't shouldn't've somebody'd "
        "somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've "
        "something'll that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't "
        "we'd've we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll "
        "who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've "
        "you'll you're you've"
    ).lower().split()
}  # fmt: skip


def vqa_accuracy(given: str, answers: Sequence[str]) -> float:
    """The accuracy of an answer by the answers of several people, usually ten, from 0 to 1."""
    wanted = normalized(given)
    agreeing = sum(normalized(answer) == wanted for answer in answers)
    differing = len(answers) - agreeing
    left_in = agreeing * min(1, (agreeing - 1) / ENOUGH_PEOPLE) + differing * min(1, agreeing / ENOUGH_PEOPLE)
    return left_in / len(answers)


def normalized(text: str) -> str:
    """A text without case, punctuation and articles; number words up to ten are digits."""
    text = " ".join(text.lower().split())
    has_digit_comma = _DIGIT_COMMA.search(text) is not None
    plain = text
    for sign in _PUNCTUATION:
        if sign in text:
            joins = f"{sign} " in text or f" {sign}" in text or has_digit_comma
            plain = plain.replace(sign, "" if joins else " ")
    words = (_NUMBERS.get(word, word) for word in _PERIOD.sub("", plain).split())
    return " ".join(_CONTRACTIONS.get(word.replace("'", ""), word) for word in words if word not in _ARTICLES)
