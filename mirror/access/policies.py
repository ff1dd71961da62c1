"""What the operator says of images that needed credentials upstream: who may have them here.

Whoever gives the agent credentials wants its images to be pulled through it, so they are shared unless the operator
says otherwise: without a question to the registry, and while that is away.
"""

import enum
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from ..errors import ConfigError
from ..oci.reference import Repository
from ..tables import parse_duration, patterns_of, refuse_unknown, tables_of

_PATTERN = re.compile(r"[a-z0-9._:/*?\[\]!-]{1,400}")
_ACCEPTED_MAX_S: Final = 24 * 3600
"""Bounds for how long an accepted credential is good, s: for that long it may have been withdrawn."""
_KEYS = ("pattern", "policy", "accepted-for")


class Sharing(enum.StrEnum):
    """Who may have a private image; the value stands in the settings."""

    SHARED = "shared"
    """Every client of the cluster."""
    CHECKED = "checked"
    """A client that presents credentials which the registry has accepted lately for that repository."""
    OFF = "off"
    """Clients of a node that has credentials of its own. It is kept nowhere, and no member is given any of it."""


@dataclass(frozen=True, slots=True)
class PrivatePolicy:
    """What counts for some names.

    Args:
        sharing: who may have their images.
        accepted_s: for how long credentials are good that the registry has accepted, s.
    """

    sharing: Sharing = Sharing.SHARED
    accepted_s: float = 600.0


@dataclass(frozen=True, slots=True)
class PrivatePolicies:
    """The policies of all names.

    Args:
        by_pattern: patterns of repositories, in which `*` stands for any characters, and their policies; the first that
            fits counts.
        usual: the policy of all others.
    """

    by_pattern: Sequence[tuple[str, PrivatePolicy]] = ()
    usual: PrivatePolicy = field(default_factory=PrivatePolicy)

    def of(self, repository: Repository | str) -> PrivatePolicy:
        """The policy of one repository."""
        if not self.by_pattern:
            return self.usual
        name = str(repository)
        return next((policy for pattern, policy in self.by_pattern if fnmatchcase(name, pattern)), self.usual)

    @property
    def all_shared(self) -> bool:
        """Whether there is nothing that not everybody may have."""
        return all(policy.sharing is Sharing.SHARED for _, policy in self.by_pattern)

    @property
    def has_checked(self) -> bool:
        """Whether clients may have to present credentials."""
        return any(policy.sharing is Sharing.CHECKED for _, policy in self.by_pattern)


def private_of(tables: Any) -> PrivatePolicies:
    """Read the tables of the operator's TOML file.

        [[private]]
        pattern = ["registry.example.com/*", "docker.io/acme/*"]
        policy = "checked"
        accepted-for = "10m"

    Raises:
        ConfigError: which table has what wrong, and what is allowed.
    """
    return PrivatePolicies(tuple(row for table in tables_of("private", "policy", tables) for row in _rows(table)))


def _rows(table: dict[str, Any]) -> Iterable[tuple[str, PrivatePolicy]]:
    patterns = patterns_of("private", table, "registry.example.com/*")
    try:
        policy = _policy(table)
    except ConfigError as error:
        raise ConfigError(f"private {patterns[0][:100]!r}: {error}") from None
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern) or ("/" not in pattern and pattern != "*"):
            raise ConfigError(
                f"private {pattern[:100]!r}: no such name; give REGISTRY/REPOSITORY in lower case and without a tag, "
                "where * stands for any characters"
            )
        yield pattern, policy


def _policy(table: dict[str, Any]) -> PrivatePolicy:
    refuse_unknown(table, _KEYS)
    policy = PrivatePolicy(_sharing(table.get("policy")), _accepted_s(table.get("accepted-for", "10m")))
    if "accepted-for" in table and policy.sharing is not Sharing.CHECKED:
        raise ConfigError("accepted-for: it means something with the policy checked alone")
    return policy


def _sharing(value: Any) -> Sharing:
    try:
        return Sharing(value)
    except ValueError:
        raise ConfigError("policy: give shared, checked or off") from None


def _accepted_s(value: Any) -> float:
    try:
        seconds = parse_duration(value if isinstance(value, str) else "")
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _ACCEPTED_MAX_S:
        raise ConfigError("accepted-for: give a time such as 30s, 10m or 2h, of at most 24h")
    return seconds
