"""For how long upstream's word about a tag is good, by what the operator says of its name.

A release never moves, `latest` moves each day, and what a lab has built itself no registry knows. So each pattern of
names has a policy; a name that fits none has the usual one.

Source of the words: RFC 5861 (stale-while-revalidate, stale-if-error).
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from ..errors import ConfigError
from ..oci.reference import Reference
from ..tables import parse_duration, patterns_of, refuse_unknown, tables_of

FOREVER = "forever"
_PATTERN = re.compile(r"[a-z0-9._:/*?\[\]!A-Z-]{1,400}")


@dataclass(frozen=True, slots=True)
class TagPolicy:
    """For how long upstream's word about a tag is good. All times are in seconds; infinity means for ever.

    Args:
        fresh_s: it is believed without a question. None: as for all tags.
        revalidate_s: after that time, it is still the answer at once, with a warning, while upstream is asked.
        error_s: after the first time, it is the answer if upstream does not say anything.
        asks_upstream: whether upstream is asked at all; if not, what this node and the members hold is the answer.
        upstream_wins: whether upstream's word counts more than that of who pushed the tag to this cluster.
    """

    fresh_s: float | None = None
    revalidate_s: float = 0.0
    error_s: float = math.inf
    asks_upstream: bool = True
    upstream_wins: bool = False


@dataclass(frozen=True, slots=True)
class TagPolicies:
    """The policies of all names.

    Args:
        by_pattern: patterns, in which `*` stands for any characters, and their policies; the first that fits counts.
        usual: the policy of all others.
        usual_s: the time for which upstream's word is believed where a policy does not say, s.
    """

    by_pattern: Sequence[tuple[str, TagPolicy]] = ()
    usual: TagPolicy = field(default_factory=TagPolicy)
    usual_s: float = 60.0

    def of(self, reference: Reference) -> TagPolicy:
        """The policy of one name."""
        return self.row_of(reference)[1] if self.by_pattern else self.usual

    def row_of(self, reference: Reference) -> tuple[str | None, TagPolicy]:
        """The pattern that fits one name, None if none does, and the policy."""
        name = str(reference)
        return next((row for row in self.by_pattern if fnmatchcase(name, row[0])), (None, self.usual))

    def shown(self, reference: Reference) -> dict[str, Any]:
        """The policy of one name, for people: times in seconds, None for ever."""
        pattern, policy = self.row_of(reference)
        times = {
            "fresh_s": self.fresh_s(reference),
            "stale_while_revalidate_s": policy.revalidate_s,
            "stale_if_error_s": policy.error_s,
        }
        shown = {key: seconds if math.isfinite(seconds) else None for key, seconds in times.items()}
        return {"pattern": pattern, **shown, "asks_upstream": policy.asks_upstream}

    def fresh_s(self, reference: Reference) -> float:
        """For how long upstream's word about one name is believed without a question, s."""
        fresh_s = self.of(reference).fresh_s
        return self.usual_s if fresh_s is None else fresh_s


def policies_of(tables: Any) -> TagPolicies:
    """Read the tables of the operator's TOML file.

        [[tag]]
        pattern = ["docker.io/library/*:latest", "registry.example.com/*"]
        fresh-for = "5m"
        stale-while-revalidate = "1h"
        stale-if-error = "7d"

    Raises:
        ConfigError: which table has what wrong, and what is allowed.
    """
    return TagPolicies(tuple(row for table in tables_of("tag", "policy", tables) for row in _rows(table)))


def _rows(table: dict[str, Any]) -> Iterable[tuple[str, TagPolicy]]:
    patterns = patterns_of("tag", table, "docker.io/library/*:latest")
    try:
        refuse_unknown(table, ["pattern", *_KEYS])
        policy = TagPolicy(**dict(_KEYS[key](key, value) for key, value in table.items() if key != "pattern"))
    except ConfigError as error:
        raise ConfigError(f"tag {patterns[0][:100]!r}: {error}") from None
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern) or "/" not in pattern:
            raise ConfigError(
                f"tag {pattern[:100]!r}: no such name; give REGISTRY/REPOSITORY:TAG, where * stands for any characters"
            )
        yield (pattern if ":" in pattern.rpartition("/")[2] or pattern.endswith("*") else f"{pattern}:*"), policy


def _seconds(attribute: str) -> Callable[[str, Any], tuple[str, Any]]:
    def read(key: str, value: Any) -> tuple[str, Any]:
        if value == FOREVER:
            return attribute, math.inf
        try:
            return attribute, parse_duration(value if isinstance(value, str) else "")
        except ValueError as error:
            raise ConfigError(f"{key}: give {error}, or {FOREVER}") from None

    return read


def _flag(attribute: str, meaning: dict[bool, Any]) -> Callable[[str, Any], tuple[str, Any]]:
    def read(key: str, value: Any) -> tuple[str, Any]:
        if not isinstance(value, bool):
            raise ConfigError(f"{key}: give true or false")
        return attribute, meaning[value]

    return read


_KEYS: dict[str, Callable[[str, Any], tuple[str, Any]]] = {
    "fresh-for": _seconds("fresh_s"),
    "stale-while-revalidate": _seconds("revalidate_s"),
    "stale-if-error": _seconds("error_s"),
    "pin": _flag("fresh_s", {True: math.inf, False: None}),
    "never-upstream": _flag("asks_upstream", {True: False, False: True}),
    "upstream-wins": _flag("upstream_wins", {True: True, False: False}),
}
