"""Ground truths that are none: what data sets write for an answer that they keep secret."""

import re

_HIDDEN = re.compile(r"\?+|nan|null", re.IGNORECASE)


def is_hidden(text: str) -> bool:
    """Whether a ground truth's plain text hides the answer, as test splits do."""
    return _HIDDEN.fullmatch(text.strip()) is not None
