"""Ground truths that are none: what data sets write for an answer that they keep secret."""

import re

_HIDDEN = re.compile(r"\s*(?:\?+|nan|null)\s*", re.IGNORECASE)


def is_hidden(text: str) -> bool:
    """Whether a ground truth hides the answer, as test splits do."""
    return _HIDDEN.fullmatch(text) is not None
