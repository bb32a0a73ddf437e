"""The rows of every fixture as Python values, and the one form in which rows are compared: JSON that arrow-json reads."""

import struct
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal

UTC = timezone.utc
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COLUMNS = (
    "name flag tiny small n big single t price day at ts ts6 blob pair list pairs tags".split()
)


def row(*values):
    return dict(zip(COLUMNS, values, strict=True))


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


ROWS = [
    row("sensor-1", True, 1, 2, 3, 4, 1.5, 21.25, Decimal("12.3400"), date(2026, 1, 1), time(10, 20, 30, 500_000),
        utc(2026, 1, 1, 0, 0, 10, 500_000), utc(2026, 1, 1, 0, 0, 10, 123_456), b"\x00\xff", {"x": 7, "y": "seven"},
        [1.5, 2.0], [{"x": 1, "y": "a"}, {"x": 2, "y": "b"}], {"a": 1}),
    row(*[None] * len(COLUMNS)),
    row("least", False, -(2**7), -(2**15), -(2**31), -(2**63), -3.4028234663852886e38, -1.7976931348623157e308,
        Decimal("-9999999999999999.9999"), date(1, 1, 1), time(0), utc(1, 1, 1), utc(1, 1, 1), b"\x80", {"x": -(2**31), "y": "-"},
        [-1.0], [{"x": -1, "y": "-1"}], {"least": -(2**63)}),
    row("most", True, 2**7 - 1, 2**15 - 1, 2**31 - 1, 2**63 - 1, 3.4028234663852886e38, 1.7976931348623157e308,
        Decimal("9999999999999999.9999"), date(9999, 12, 31), time(23, 59, 59, 999_000), utc(9999, 12, 31, 23, 59, 59),
        utc(9999, 12, 31, 23, 59, 59), b"\x7f", {"x": 2**31 - 1, "y": "+"}, [1e300], [{"x": 1, "y": "1"}], {"most": 2**63 - 1}),
    row("", False, 0, 0, 0, 0, 0.0, 0.0, Decimal("0.0000"), date(1970, 1, 1), time(0), EPOCH, EPOCH, b"", {"x": 0, "y": ""}, [], [], {}),
    row("Zähler 世界 \U0001f321", True, 5, 5, 5, 5, 0.5, 0.1, Decimal("0.0001"), date(2026, 2, 28), time(1, 2, 3),
        utc(2026, 2, 28, 1, 2, 3), utc(2026, 2, 28, 1, 2, 3, 1), "é".encode(), {"x": 1, "y": "ü"}, [0.1], [{"x": 3, "y": "世"}], {"ключ": 9}),
    row("holes", None, None, 6, None, 6, None, 6.0, None, date(2026, 3, 1), None, utc(2026, 3, 1), None, None, {"x": None, "y": None},
        [1.0, None, 3.0], [{"x": None, "y": "x"}, None, {"x": 2, "y": None}], {"a": None, "b": 2}),
    row("before 1970", False, -1, -1, -1, -1, -0.5, -273.15, Decimal("-0.0001"), date(1969, 12, 31), time(12, 0, 0, 1_000),
        utc(1969, 12, 31, 23, 59, 59, 999_000), utc(1969, 12, 31, 23, 59, 59, 999_999), b"-", {"x": -1, "y": "-"}, [-0.5, -1e-9],
        [{"x": -1, "y": ""}], {"": -1}),
    row("quotes \"here\", a\ttab, a;semicolon\nand a line end", True, 8, 8, 8, 8, 8.0, 1e-5, Decimal("8.0000"), date(2026, 8, 8),
        time(8, 8, 8), utc(2026, 8, 8, 8, 8, 8, 8_000), utc(2026, 8, 8, 8, 8, 8, 8), b"\"\\\n", {"x": 8, "y": "a \"quoted\", word"},
        [8.0, 8.125], [{"x": 8, "y": "\\"}], {"\"": 8}),
    row("long " * 70, False, 9, 200, 70_000, 2**40, 16777216.0, 123456789.125, Decimal("123456789.1250"), date(2026, 9, 9),
        time(9, 9, 9, 90_000), utc(2026, 9, 9, 9, 9, 9, 90_000), utc(2026, 9, 9, 9, 9, 9, 90_909), bytes(range(256)) + b"more",
        {"x": 9, "y": "y" * 40}, [index / 4 for index in range(20)], [{"x": index, "y": str(index)} for index in range(17)],
        {f"key {index}": index * 1000 for index in range(18)}),
    row("several", True, 10, -129, -32769, -(2**31) - 1, 0.0625, 3.0, Decimal("10.0000"), date(2024, 2, 29), time(0, 0, 0, 1_000),
        utc(2024, 2, 29), utc(2024, 2, 29, 0, 0, 0, 1), b"\n", {"x": 10, "y": "NULL?"}, [0.0], [], {"a": 1, "b": 2, "c": 3}),
    row("last", False, 11, 128, 32768, 2**31, 11.5, 2.5e-3, Decimal("1.5000"), date(2026, 12, 31), time(11, 11, 11, 110_000),
        utc(2026, 12, 31, 23, 59, 59, 999_000), utc(2026, 12, 31, 23, 59, 59, 999_999), b"last", {"x": 11, "y": "eleven"}, [11.0, 1 / 3],
        [{"x": 11, "y": "z"}], {"z": 0}),
]


def canonical(column, value):
    """A column's value in the form of rows.json, whether it is of Python's type for it or as our formats write it."""
    if value is None:
        return None
    match column:
        case "single":
            return struct.unpack("<f", struct.pack("<f", float(value)))[0]
        case "t":
            return float(value)
        case "flag":
            return {"true": True, "false": False}.get(value, value)
        case "tiny" | "small" | "n" | "big" | "x":
            return int(value)
        case "price":
            return f"{Decimal(str(value)):.4f}"
        case "day":
            return f"{value:%Y-%m-%d}".rjust(10, "0") if isinstance(value, date) else value
        case "at":
            if isinstance(value, int):
                value = (EPOCH + timedelta(milliseconds=value)).time()
            value = value if isinstance(value, time) else time.fromisoformat(value)
            return value.isoformat("milliseconds")
        case "ts" | "ts6":
            if isinstance(value, str):
                value = datetime.fromisoformat(value)
            value = value.replace(tzinfo=None) if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
            return value.isoformat("T", "milliseconds" if column == "ts" else "microseconds")
        case "blob":
            return value.hex() if isinstance(value, bytes) else value
        case "pair":
            return {key: canonical(key, inner) for key, inner in value.items()}
        case "list":
            return [canonical("t", item) for item in value]
        case "pairs":
            return [canonical("pair", item) for item in value]
        case "tags":
            return {key: canonical("big", inner) for key, inner in dict(value).items()}
    return value


def canonical_row(given):
    return {column: canonical(column, value) for column, value in given.items()}
