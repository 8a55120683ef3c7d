"""The fallback: one more request for an answer that commits to no option, with only the options' letters allowed.

Off by default. What it brings stands beside the answer and is reported apart: it never makes an answer right.
"""

from captionqa.grading.choices import LETTERS, parse_choices
from captionqa.grading.ground_truth import extract_answer

#: A letter is one token; some tokenizers put a blank before it.
LETTER_TOKENS = 4


def letters_to_ask(question: str, said: str) -> str:
    """The letters of a question's options where what was said commits to none of them; else an empty string."""
    choices = parse_choices(question)
    return "" if extract_answer(said, choices) else LETTERS[: len(choices)]
