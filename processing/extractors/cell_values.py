"""What a spreadsheet shows in a cell: dates, times and percentages out of the numbers that it keeps."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

_BUILT_IN: Final = {9: "0%", 10: "0.00%", 20: "h:mm", 21: "h:mm:ss", 22: "yyyy-mm-dd h:mm", 46: "[h]:mm:ss"}
_BUILT_IN_DATES: Final = frozenset([14, 15, 16, 17, *range(27, 37), *range(50, 59)])
_BUILT_IN_TIMES: Final = frozenset([18, 19, 45, 47])
_LITERALS = re.compile(r'"[^"]*"|\\.|_.|\*.|General|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.I)
_ELAPSED = re.compile(r"\[[hms]", re.I)
_DATE = re.compile(r"[ydhs]|m", re.I)
_EPOCH: Final = datetime(1899, 12, 30)
_EPOCH_1904: Final = datetime(1904, 1, 1)
_LAST_DAY: Final = 2_958_465


@dataclass(frozen=True)
class NumberFormats:
    """How the workbook's styles show numbers: what each style's code says, literals aside."""

    codes: list[str] = field(default_factory=list)
    since_1904: bool = False

    @classmethod
    def of_styles(cls, numbers: list[int], own_codes: Mapping[int, str], since_1904: bool) -> "NumberFormats":
        """From the number of each style's format, and the codes of the workbook's own formats."""
        return cls([_code(number, own_codes) for number in numbers], since_1904)

    def show(self, number: str, style: int) -> str:
        """A stored number as the sheet shows it, as far as that changes its meaning."""
        try:
            found = float(number)
        except ValueError:
            return number
        code = self.codes[style] if style < len(self.codes) else ""
        if not code:
            return number if number.isdigit() else plain_number(found)
        if "%" in code:
            return _percentage(found, code)
        if _ELAPSED.search(code):
            return _duration(found)
        if _DATE.search(code) and 0 <= found <= _LAST_DAY:
            return _moment(found, code, _EPOCH_1904 if self.since_1904 else _EPOCH)
        return plain_number(found)


def _code(number: int, own_codes: Mapping[int, str]) -> str:
    if number in _BUILT_IN_DATES:
        return "yyyy-mm-dd"
    if number in _BUILT_IN_TIMES:
        return "h:mm:ss"
    code = own_codes.get(number, _BUILT_IN.get(number, ""))
    plain = _LITERALS.sub("", code.partition(";")[0])
    return plain if "%" in plain or _DATE.search(plain) else ""


def plain_number(number: float) -> str:
    """Without the noise of binary fractions: 0.1 + 0.2 is 0.3."""
    text = f"{number:.12g}" if abs(number) < 1e12 else f"{number:.15g}"
    return f"{number:.0f}" if "e" in text and number == int(number) and abs(number) < 1e21 else text


def _percentage(number: float, code: str) -> str:
    places = len(code.partition(".")[2].partition("%")[0])
    return f"{number * 100:.{min(places, 10)}f}%"


def _duration(days: float) -> str:
    seconds = round(abs(days) * 86_400)
    return f"{'-' if days < 0 else ''}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _moment(days: float, code: str, epoch: datetime) -> str:
    moment = epoch + timedelta(seconds=round(days * 86_400))
    has_date, has_time = re.search("[yd]|mmm", code, re.I), re.search("[hs]", code, re.I)
    if has_date or not has_time:
        return moment.strftime("%Y-%m-%d %H:%M" if has_time else "%Y-%m-%d")
    return moment.strftime("%H:%M:%S").removesuffix(":00")
