"""Goals: which images are to be kept, and by whom. Pure: who knows the same pins and members has the same goals."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ..oci.digest import Digest
from ..oci.names import Pattern, parse_name, parse_one
from ..oci.reference import Repository
from .placement import keepers
from .records import ALL, Record

Key = tuple[Digest, tuple[str, ...]]
"""An image, as far as it is kept: its digest, and its platforms."""


@dataclass(frozen=True, slots=True)
class Goal:
    """An image that is to be kept.

    Args:
        digest: of its manifest or index.
        platforms: of an index, those that are kept; empty: all.
        repository: under whose name it is asked for.
        copies: on how many members; `ALL`: on every one.
        keepers: the members that keep it, the first one first.
    """

    digest: Digest
    platforms: tuple[str, ...]
    repository: Repository
    copies: int
    keepers: tuple[str, ...]

    @property
    def key(self) -> Key:
        """What tells it from other goals."""
        return self.digest, self.platforms


def digest_of(record: Record) -> Digest | None:
    """The digest of what a record pins; None of a pattern, and of a tag whose meaning nobody knows yet."""
    name = parse_name(record.name)
    return None if isinstance(name, Pattern) else name.digest or record.digest


def goals_of(pins: Iterable[Record], settled: Collection[str], everyone: Collection[str] = ()) -> list[Goal]:
    """What is to be kept, in the order of the pins; of several pins that cover one image the most copies count.

    Args:
        pins: the oldest first.
        settled: names of members that keep images; never empty.
        everyone: those who keep what every member is to keep; empty: the same.
    """
    pins = list(pins)
    patterns = [(Pattern(it.name), it.copies) for it in pins if isinstance(parse_name(it.name), Pattern)]
    found: dict[Key, Goal] = {}
    for record in pins:
        digest = digest_of(record)
        if digest is None:
            continue
        name = parse_one(record.name)
        wanted = [copies for pattern, copies in patterns if name.reference and pattern.matches(name.reference)]
        known = found.get(key := (digest, record.platforms))
        copies = _most([record.copies, *wanted, *([known.copies] if known else [])])
        if known is None or known.copies != copies:
            repository = known.repository if known else name.repository
            asked = everyone or settled if copies == ALL else settled
            found[key] = Goal(digest, record.platforms, repository, copies, keepers(digest.key, asked, copies))
    return list(found.values())


def _most(copies: Sequence[int]) -> int:
    return ALL if ALL in copies else max(copies)
