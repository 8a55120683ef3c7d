"""Refusals: a model that will not or cannot answer, and error messages that stand where an answer should."""

import re

#: A refusal anywhere in a text, or an error message at its beginning.
REFUSAL = re.compile(
    r"\b(?:I(?:'m|\sam)?\s(?:cannot|can't|can\snot|unable\sto|not\sable\sto|sorry|do\snot\sknow|don't\sknow|not\ssure)|"
    r"I(?:'m|\sam)\s(?:very\s|really\s)?sorry|as\san\sAI|"
    r"(?:unable|impossible|not\spossible)\sto\s(?:\w+ly\s)?(?:answer|determine|tell|say|see|identify|know|choose|select|"
    r"provide)|(?:cannot|can't|can\snot|could\snot|couldn't)\s(?:be\s)?(?:\w+ly\s)?(?:answer|determine|tell|identify|"
    r"choose|provide|assist|help)(?:ed|n|d)?\b|no\simage|too\s\w+\sto\s(?:tell|see|say|read)|no\sidea|"
    r"(?:not\senough|insufficient)\s(?:information|context|details?|data)|none\sof\s(?:the|these|those)|"
    r"not\s(?:clear|visible)\senough)|无法(?:确定|判断|回答)|\A\W*(?:error\b|traceback\b|internal\sserver|bad\sgateway|"
    r"<html|<!doctype)",
    re.IGNORECASE,
)
