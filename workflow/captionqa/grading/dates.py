"""Dates and times: a day, or a month of a year, in the forms in which people write them; 3:30 p.m."""

import re

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})[a-z]*\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>[12]\d{3})"
#: May 3rd, 2021; 3rd of May 2021; May 2021; 2021-05-03; 2021年5月3日; 5月3日.
_FORMS = [
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"{_MONTH}\s{_DAY}(?:,?\s{_YEAR})?",
        rf"{_DAY}\s(?:of\s)?{_MONTH}(?:,?\s{_YEAR})?",
        rf"{_MONTH},?\s{_YEAR}",
        rf"{_YEAR}[-/.](?P<month>\d{{1,2}})[-/.](?P<day>\d{{1,2}})",
        rf"(?:{_YEAR}年)(?P<month>\d{{1,2}})月(?:(?P<day>\d{{1,2}})[日号])?",
        r"(?P<month>\d{1,2})月(?P<day>\d{1,2})[日号]",
    )
]

#: A time of day: 10:30, 9:05:00 a.m.
_TIME = re.compile(
    r"(?P<hour>\d{1,2}):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?:\s?(?P<half>[ap])\.?\s?m\.?)?", re.IGNORECASE
)


def parse_time(text: str) -> tuple[int, int, int, str] | None:
    """The hour, minute, second and half ("a", "p" or "") of a time of day; None for another text."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    return int(match["hour"]), int(match["minute"]), int(match["second"] or 0), (match["half"] or "").lower()


def parse_date(text: str) -> tuple[int | None, int, int | None] | None:
    """The year, month and day of a date, None for a year or day that it leaves out; None for a text that is no date."""
    text = " ".join(text.split()).removeprefix("on ").removeprefix("On ")
    for form in _FORMS:
        if match := form.fullmatch(text):
            parts = match.groupdict()
            name = parts["month"].lower()
            month = int(name) if name.isdigit() else 1 + _MONTHS.index(name[:3])
            year, day = (int(parts[key]) if parts.get(key) else None for key in ("year", "day"))
            return (year, month, day) if month <= 12 and (day or 1) <= 31 else None
    return None
