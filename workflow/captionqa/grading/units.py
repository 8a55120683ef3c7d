"""Units: one canonical name for each, so that "12 square centimetres" and "12 cm²" have the same unit."""

import re

#: A longer text after a number is a sentence and no unit.
MAX_UNIT_CHARACTERS = 40
#: The canonical name of each unit, and the words for it.
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
#: The canonical name by each word. Single letters keep their case: in the other case they are more often variables.
_CANONICAL = {
    word if len(word) == 1 else word.casefold(): name for name, words in _NAMES.items() for word in words.split()
}
#: Words after a number that change its value or continue the sentence, and so are no unit.
_NO_UNIT = frozenset(
    "hundred thousand million billion trillion dozen dozens score times half quarter third thirds quarters k bn x "  # noqa: SIM905
    "or and to more less fewer minus plus than not but out of over from greater fold e pi sin cos tan log ln sqrt exp "
    "i the is are mod factorial squared cubed each either maybe perhaps point points base am pm bc ad "
    "below above under off short left remainder january february march april may june july august september october "
    "november december jan feb mar apr jun jul aug sep oct nov dec".split()
)
#: "square metre", "metre squared", "m^2".
_SQUARE = re.compile(r"(?:square|sq\.?|平方)\s*(.+)|(.+?)(?:\s*(?:\^\s*\{?\s*2\s*\}?|²)|\ssquared)", re.IGNORECASE)
#: "cubic metre", "metre cubed", "m^3".
_CUBE = re.compile(r"(?:cubic|cu\.?|立方)\s*(.+)|(.+?)(?:\s*(?:\^\s*\{?\s*3\s*\}?|³)|\scubed)", re.IGNORECASE)
#: "km/h", "dollars per hour", "miles an hour".
_PER = re.compile(r"(.+?)(?:\s*/\s*|\s(?:per|an?)\s)(.+)")
_TEMPERATURE = re.compile(r"(?:°|degrees?)\s*(C|F|celsius|fahrenheit)", re.IGNORECASE)
#: One or two words without digits.
_WORDS = re.compile(r"[^\W\d_]+(?:[ -][^\W\d_]+)?")
#: A product of variables: "xy".
_ALGEBRA = re.compile(r"[abcnmpqrtxyz]{2,3}")


def canonical_unit(text: str) -> str | None:
    """The canonical name of the unit or counted noun after a number; "" for no text, None for another text."""
    text = text.strip().removesuffix(".")
    if not text or len(text) > MAX_UNIT_CHARACTERS:
        return None if text else ""
    if name := measurement_unit(text):
        return name
    words = text.casefold().replace("-", " ").split()
    if not _WORDS.fullmatch(text) or _NO_UNIT.intersection(words) or _ALGEBRA.fullmatch(text):
        return None
    # a counted noun such as "dogs"; one or two letters are more often variables
    return " ".join(words).removesuffix("s") if len(text) > 2 or not text.isascii() else None


def measurement_unit(text: str) -> str | None:
    """The canonical name of a known unit of measurement, squared, cubed or a quotient too; None for other words."""
    text = text.strip()
    if name := _CANONICAL.get(text) or (_CANONICAL.get(text.casefold()) if len(text) > 1 else None):
        return name
    if match := _TEMPERATURE.fullmatch(text):
        return f"°{match[1][0].upper()}"
    for pattern, power in ((_SQUARE, "²"), (_CUBE, "³")):
        if (match := pattern.fullmatch(text)) and (base := measurement_unit(match[1] or match[2])):
            return base + power
    if match := _PER.fullmatch(text):
        above, below = measurement_unit(match[1]), measurement_unit(match[2])
        return f"{above}/{below}" if above and below else None
    return None
