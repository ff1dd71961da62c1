"""Tables of the operator's TOML file, `[[tag]]` for example: what the parts that read them read alike.

An error names the table by its kind and by what it is about, the key, and what is allowed.
"""

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any, Final

from .errors import ConfigError

Table = dict[str, Any]

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"(\d{1,6})(s|m|h|d)")
_SIZE: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([KMGT]i?B?|B)?", re.IGNORECASE)
_UNITS: Final = {"": 1, "B": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12} | {
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip


def tables_of(kind: str, what: str, written: Any) -> list[Table]:
    """The tables of one kind; raise ConfigError if something else is written there.

    Args:
        kind: the name of the tables.
        what: each of them stands for.
        written: what the file has under that name.
    """
    if not isinstance(written, list) or not all(isinstance(table, dict) for table in written):
        raise ConfigError(f"{kind}: write each {what} as a table that begins with [[{kind}]]")
    return written


def patterns_of(kind: str, table: Table, example: str) -> list[str]:
    """The patterns of names that a table is about, one or several; raise ConfigError if it has none."""
    patterns = table.get("pattern")
    patterns = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(patterns, list) or not patterns or not all(isinstance(text, str) for text in patterns):
        raise ConfigError(f'{kind}: a table has no pattern; give one, as in pattern = "{example}"')
    return patterns


def refuse_unknown(keys: Iterable[str], known: Collection[str]) -> None:
    """Raise ConfigError for the first key that no table of this kind has."""
    for key in keys:
        if key not in known:
            meant = get_close_matches(key, known, n=1)
            hint = f"is {meant[0]} meant?" if meant else f"there are {', '.join(known)}"
            raise ConfigError(f"{key}: no such key; {hint}")


def parse_duration(text: str) -> float:
    """Read a time as operators write it, in seconds; raise ValueError if it is none."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError("a time such as 30s, 5m, 2h or 7d")
    return float(int(found[1]) * _UNITS_S[found[2]])


def parse_size(text: str) -> int:
    """Read a number of bytes with a unit: 512MiB, 20GB, 1073741824; raise ValueError if it is none."""
    match = _SIZE.fullmatch(text.strip())
    unit = (match[2] or "").removesuffix("B").removesuffix("b") if match else ""
    scale = _UNITS.get(unit[:1].upper() + unit[1:].lower())
    if match is None or scale is None:
        raise ValueError("a size such as 512MiB or 20GB")
    return int(float(match[1]) * scale)
