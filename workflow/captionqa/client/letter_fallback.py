"""The fallback: one more request after an answer that names no option, with only the options' letters allowed.

Off by default. Its letter stands beside the answer and is reported apart: it never makes an answer right.
"""

from captionqa.client.answer import Answer

#: A letter is one token; some tokenizers put a blank before it.
LETTER_TOKENS = 4


def allowed_letters(question: str, answer: Answer, choices_added: int | None = None) -> str:
    """The letters of a question's options if an answer names none of them, else an empty string.

    `choices_added` is the number of choices that planning wrote into the last lines of the question, if it did.
    """
    # grading takes 0.1 s to import, and most chunk jobs do without
    from captionqa.grading.choices import LETTERS, lettered_choices
    from captionqa.grading.ground_truth import extract_answer

    if choices_added is None:
        choices = lettered_choices(question)
    else:
        choices = [line.partition(". ")[2] for line in question.rsplit("\n", choices_added)[1:]]
    is_truncated = answer["finish_reason"] == "length"
    return "" if extract_answer(answer["text"], choices, is_truncated) else LETTERS[: len(choices)]
