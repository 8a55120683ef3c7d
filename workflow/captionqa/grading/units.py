"""Units: one canonical name for each, so that "12 square centimetres" and "12 cm²" have the same unit."""

import re
from functools import lru_cache

#: A longer text after a number is a sentence and no unit.
MAX_UNIT_CHARACTERS = 40
#: Texts after numbers whose units are kept in memory.
CACHED_UNITS = 4096
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
    "mol": "mol mole moles 摩尔",
    "ha": "ha hectare hectares 公顷",
    "cal": "cal calorie calories",
    "kcal": "kcal kilocalorie kilocalories",
    "K": "kelvin kelvins",
    "mph": "mph",
    "rad": "rad radian radians 弧度",
    "unit": "unit units",
    "$": "$ dollar dollars usd 美元",
    "€": "€ euro euros eur 欧元",
    "£": "£ gbp",
    "¥": "¥ yuan cny rmb yen 元",
}
#: Units that take prefixes: symbol, the prefixes in use, and the words for it.
_PREFIXED = {
    "m": "n μ|meter meters metre metres",
    "s": "n μ m|second seconds",
    "g": "μ|gram grams",
    "L": "μ|liter liters litre litres",
    "A": "n μ m k|ampere amperes amp amps 安",
    "V": "μ m k M|volt volts 伏",
    "W": "μ m k M G|watt watts 瓦",
    "J": "m k M G|joule joules 焦",
    "N": "m k M|newton newtons 牛",
    "Pa": "h k M G|pascal pascals 帕",
    "Hz": "k M G|hertz 赫兹",
    "Ω": "m k M|ohm ohms 欧",
    "eV": "m k M G|electronvolt electronvolts",
    "mol": "m|mole moles",
    "C": "n μ m|coulomb coulombs",
    "T": "m|tesla teslas",
    "F": "n μ|farad farads",
    "B": "k M G T|byte bytes",
}
_PREFIXES = {"n": "nano", "μ": "micro", "m": "milli", "h": "hecto", "k": "kilo", "M": "mega", "G": "giga", "T": "tera"}
#: Symbols that alone are more often a variable, a degree or a label.
_ONLY_PREFIXED = frozenset("C T F B")
#: The canonical name by each word. Symbols of one letter keep their case: in the other case they are more often
#: variables.
_CANONICAL = {
    word if len(word) == 1 else word.casefold(): name for name, words in _NAMES.items() for word in words.split()
}
_CANONICAL |= {
    word: symbol
    for symbol, entry in _PREFIXED.items()
    for word in ([] if symbol in _ONLY_PREFIXED else [symbol]) + entry.partition("|")[2].split()
}
#: The canonical name by the symbols and words with a prefix, whose case counts: mW and MW.
_WITH_PREFIX = {
    form: prefix + symbol
    for symbol, entry in _PREFIXED.items()
    for prefix in entry.partition("|")[0].split()
    for form in (prefix + symbol, *(_PREFIXES[prefix] + word for word in entry.partition("|")[2].split()))
} | {"us": "μs", "um": "μm", "ug": "μg"}
#: Words after a number that change its value or continue the sentence, and so are no unit.
_NO_UNIT = frozenset(
    "hundred thousand million billion trillion dozen dozens score times half quarter third thirds quarters k bn x "  # noqa: SIM905 - a list has a line for each word
    "or and to more less fewer minus plus than not but out of over from greater fold e pi sin cos tan log ln sqrt exp "
    "i the is are mod factorial squared cubed each either maybe perhaps point points base am pm bc ad "
    "below above under off short left π remainder january february march april may june july august september october "
    "november december jan feb mar apr jun jul aug sep oct nov dec".split()
)
#: "square metre", "cubic metre".
_POWER_BEFORE = re.compile(
    r"(?:(?P<square>square|sq\.?|平方)|(?P<cube>cubic|cu\.?|立方))\s*(?P<unit>.+)", re.IGNORECASE
)
#: "metre squared", "m^2", "m²", "s^{-1}".
_POWER_AFTER = re.compile(
    r"(?P<unit>.+?)(?:\s*\^\s*\{?\s*(?P<power>-?[1-4])\s*\}?|(?P<square>\s*²|\ssquared)|(?P<cube>\s*³|\scubed))",
    re.IGNORECASE,
)
#: "km/h", "dollars per hour", "miles an hour": what is above the last line of the fraction, and what is below it.
_PER = re.compile(r"(.+)(?:\s*/\s*|\s(?:per|an?)\s)(.+)", re.IGNORECASE)
#: "kg·m", "kg m".
_TIMES = re.compile(r"(.+?)(?:\s*[·⋅]\s*|\s+)(.+)")
_RAISED = {1: "", 2: "²", 3: "³"}
_TEMPERATURE = re.compile(r"(?:°|degrees?)\s*(C|F|celsius|fahrenheit)", re.IGNORECASE)
#: One or two words without digits.
_WORDS = re.compile(r"[^\W\d_]+(?:[ -][^\W\d_]+)?")
#: A product of variables: "xy".
_ALGEBRA = re.compile(r"[abcnmpqrtxyz]{2,3}")


@lru_cache(maxsize=CACHED_UNITS)
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


@lru_cache(maxsize=CACHED_UNITS)
def measurement_unit(text: str) -> str | None:
    """The canonical name of a known unit of measurement, with powers, a product or a quotient; None for other words."""
    text = text.strip()
    if name := _named(text):
        return name
    factors = _factors(text)
    if factors is None:
        return None
    above = "·".join(name + _raised(power) for name, power in sorted(factors.items()) if power > 0)
    below = "·".join(name + _raised(-power) for name, power in sorted(factors.items()) if power < 0)
    return f"{above}/{below}" if below else above


def _raised(power: int) -> str:
    return _RAISED.get(power, f"^{power}")


def _named(text: str) -> str | None:
    """The canonical name of one unit."""
    name = _WITH_PREFIX.get(text) or _CANONICAL.get(text)
    if name is None and len(text) > 1:
        low = text.casefold().replace("electron volt", "electronvolt")
        name = _CANONICAL.get(low) or (_WITH_PREFIX.get(low) if len(low) > 3 else None)
    if name is None and (match := _TEMPERATURE.fullmatch(text)):
        name = f"°{match[1][0].upper()}"
    return name


def _factors(text: str) -> dict[str, int] | None:
    """The units of a product or quotient with their powers; None where a part is no unit."""
    text = text.strip(" ()")
    if name := _named(text):
        return {name: 1}
    if match := _PER.fullmatch(text):
        return _product(_factors(match[1]), _factors(match[2]), -1)
    for pattern in (_POWER_BEFORE, _POWER_AFTER):
        if (match := pattern.fullmatch(text)) and (name := _named(match["unit"].strip())):
            groups = match.groupdict()
            return {name: 2 if groups["square"] else 3 if groups["cube"] else int(groups["power"])}
    if match := _TIMES.fullmatch(text):
        return _product(_factors(match[1]), _factors(match[2]), 1)
    return None


def _product(one: dict[str, int] | None, other: dict[str, int] | None, power: int) -> dict[str, int] | None:
    """The product of one group of units and a power of another."""
    if one is None or other is None:
        return None
    total = {name: one.get(name, 0) + power * other.get(name, 0) for name in one | other}
    return {name: value for name, value in total.items() if value} or None
