"""Units: one name for each, so that "12 square centimetres" and "12 cm²" are measured alike."""

import re

#: What follows a number and is longer is a sentence.
MAX_UNIT_CHARACTERS = 40
_NAMES = {
    "%": "% percent pct percentage 百分",
    "°": "° degree degrees deg º 度",
    "°C": "℃ celsius 摄氏度",
    "°F": "℉ fahrenheit 华氏度",
    "mm": "mm millimeter millimeters millimetre millimetres 毫米",
    "cm": "cm cms centimeter centimeters centimetre centimetres 厘米 公分",
    "dm": "dm decimeter decimeters decimetre decimetres 分米",
    "m": "m meter meters metre metres 米",
    "km": "km kms kilometer kilometers kilometre kilometres 千米 公里",
    "in": "in inch inches 英寸",
    "ft": "ft foot feet 英尺",
    "yd": "yd yard yards",
    "mi": "mi mile miles 英里",
    "mg": "mg milligram milligrams 毫克",
    "g": "g gram grams 克",
    "kg": "kg kgs kilogram kilograms 千克 公斤",
    "lb": "lb lbs pound pounds",
    "oz": "oz ounce ounces",
    "ml": "ml milliliter milliliters millilitre millilitres 毫升",
    "L": "l L liter liters litre litres 升",
    "s": "s sec secs second seconds 秒",
    "min": "min mins minute minutes 分钟",
    "h": "h hr hrs hour hours 小时",
    "day": "day days 天",
    "week": "week weeks 周",
    "month": "month months 个月",
    "year": "year years yr yrs 年",
    "N": "N newton newtons 牛",
    "J": "J joule joules 焦",
    "W": "W watt watts 瓦",
    "V": "V volt volts 伏",
    "Ω": "Ω ohm ohms 欧",
    "Pa": "Pa pascal pascals 帕",
    "Hz": "Hz hertz 赫兹",
    "mol": "mol mole moles 摩尔",
    "mph": "mph",
    "rad": "rad radian radians 弧度",
    "unit": "unit units",
    "$": "$ dollar dollars usd 美元",
    "€": "€ euro euros eur 欧元",
    "£": "£ gbp",
    "¥": "¥ yuan cny rmb yen 元",
}
#: A single letter is a unit in its own case alone; a variable stands there more often.
KNOWN = {word if len(word) == 1 else word.casefold(): name for name, words in _NAMES.items() for word in words.split()}
#: Words after a number that change its value or go on with the sentence, so that they are no unit.
_NO_UNIT = frozenset(
    "hundred thousand million billion trillion dozen dozens score times half quarter third thirds quarters k bn x "  # noqa: SIM905
    "or and to more less fewer minus plus than not but out of over from greater fold e pi sin cos tan log ln sqrt exp "
    "i the is are mod factorial squared cubed each either maybe perhaps point points base am pm bc ad "
    "below above under off short left remainder january february march april may june july august september october "
    "november december jan feb mar apr jun jul aug sep oct nov dec".split()
)
_SQUARE = re.compile(r"(?:square|sq\.?|平方)\s*(.+)|(.+?)(?:\s*(?:\^\s*\{?\s*2\s*\}?|²)|\ssquared)", re.IGNORECASE)
_CUBE = re.compile(r"(?:cubic|cu\.?|立方)\s*(.+)|(.+?)(?:\s*(?:\^\s*\{?\s*3\s*\}?|³)|\scubed)", re.IGNORECASE)
_PER = re.compile(r"(.+?)(?:\s*/\s*|\s(?:per|an?)\s)(.+)")
_TEMPERATURE = re.compile(r"(?:°|degrees?)\s*(C|F|celsius|fahrenheit)", re.IGNORECASE)
_WORDS = re.compile(r"[^\W\d_]+(?:[ -][^\W\d_]+)?")
_ALGEBRA = re.compile(r"[abcnmpqrtxyz]{2,3}")


def unit(text: str) -> str | None:
    """The one name of what follows a number ("" for nothing); None where that is no unit."""
    text = text.strip().removesuffix(".")
    if not text or len(text) > MAX_UNIT_CHARACTERS:
        return None if text else ""
    if name := measure(text):
        return name
    words = text.casefold().replace("-", " ").split()
    if not _WORDS.fullmatch(text) or _NO_UNIT.intersection(words) or _ALGEBRA.fullmatch(text):
        return None
    # a noun that is counted; two letters or one are more often variables
    return " ".join(words).removesuffix("s") if len(text) > 2 or not text.isascii() else None


def measure(text: str) -> str | None:
    """The one name of a known unit of measurement, be it squared, cubed or a quotient; None for other words."""
    text = text.strip()
    if name := KNOWN.get(text) or (KNOWN.get(text.casefold()) if len(text) > 1 else None):
        return name
    if match := _TEMPERATURE.fullmatch(text):
        return f"°{match[1][0].upper()}"
    for pattern, power in ((_SQUARE, "²"), (_CUBE, "³")):
        if (match := pattern.fullmatch(text)) and (base := measure(match[1] or match[2])):
            return base + power
    if (match := _PER.fullmatch(text)) and (above := measure(match[1])) and (below := measure(match[2])):
        return f"{above}/{below}"
    return None
