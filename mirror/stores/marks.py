"""Marks: under which names content came that this node, or a member, needed credentials for.

A digest names bytes, not who may have them: the same layer may lie in a public repository and in a private one. So a
mark lists repositories. Content without a mark came without credentials. Who may have what is marked: see `access`.

A name is *confirmed* if the registry gave the content under that name to somebody who asked for it. What a container
runtime says of several names is only *claimed*: containerd notes a name for every image that mentions the content,
whether or not the registry has it there.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ..errors import NameInvalid
from ..oci.digest import Digest
from ..oci.reference import Repository

NAMES_MAX: Final = 8
"""Bounds the names of each kind in one mark: a layer that more repositories share is asked of upstream by its other
names. What is left out only makes the mark stricter."""
_PASSING_MAX: Final = 16_384
"""Bounds the marks of what this node does not keep: what arrives, what passes through memory, and manifests in memory.
Each takes some 300 bytes."""
_CLAIMED: Final = "?"


@dataclass(frozen=True, slots=True)
class Mark:
    """The repositories of some content, as text (`docker.io/library/nginx`).

    Args:
        names: confirmed.
        claimed: not confirmed.
    """

    names: frozenset[str] = frozenset()
    claimed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, repository: Repository) -> "Mark":
        """The mark of what a registry gave under one name."""
        return cls(frozenset({str(repository)}))

    @classmethod
    def parse(cls, text: str) -> "Mark":
        """Read `write`'s text. What is no repository is left out: the content is marked all the same."""
        words = text.split(",", 2 * NAMES_MAX)[: 2 * NAMES_MAX]
        return cls(
            _known(word for word in words if not word.startswith(_CLAIMED)),
            _known(word.removeprefix(_CLAIMED) for word in words if word.startswith(_CLAIMED)),
        )

    def write(self) -> str:
        """The mark as text for a header or a file, always the same for the same mark."""
        claimed = (f"{_CLAIMED}{name}" for name in sorted(self.claimed))
        return ",".join([*sorted(self.names), *claimed]) or "*"

    def __or__(self, other: "Mark") -> "Mark":
        names = _bounded(self.names, other.names)
        return Mark(names, _bounded(self.claimed, other.claimed) - names)


def _bounded(first: frozenset[str], then: frozenset[str]) -> frozenset[str]:
    """Both together; what is known already stays."""
    return first | frozenset(sorted(then - first)[: NAMES_MAX - len(first)])


def _known(words: Iterable[str]) -> frozenset[str]:
    return frozenset(sorted(word for word in words if is_repository(word))[:NAMES_MAX])


@lru_cache(maxsize=4096)
def is_repository(name: str) -> bool:
    """Whether a text is a repository as this node writes it."""
    try:
        return str(Repository.parse(name)) == name
    except NameInvalid:
        return False


class Marks:
    """The marks of all content that this node has or is getting. All is called on the event loop.

    Args:
        runtimes: give the marks of what container runtimes of this node hold; None of what they do not.
        is_kept: whether what came under some names may be kept on the disk.
    """

    def __init__(
        self,
        runtimes: Iterable[Callable[[Digest], Mark | None]] = (),
        is_kept: Callable[[frozenset[str]], bool] = lambda names: True,
    ) -> None:
        self._runtimes = tuple(runtimes)
        self._is_kept = is_kept
        self._lasting: dict[str, Mark] = {}
        """Of what the cache holds or is writing, by the hex of the digest."""
        self._passing: OrderedDict[str, Mark] = OrderedDict()
        self._on_changed: Callable[[Digest, Mark], None] = lambda digest, mark: None
        self._has: Callable[[Digest], bool] = lambda digest: False

    def follow(self, on_changed: Callable[[Digest, Mark], None], has: Callable[[Digest], bool]) -> None:
        """Work with who keeps content.

        Args:
            on_changed: is told when the mark of something that is kept has changed.
            has: whether all of some content is kept. If it is, and has no mark, it came without credentials: then it
                gets none from others either.
        """
        self._on_changed = on_changed
        self._has = has

    def of(self, digest: Digest) -> Mark | None:
        """The mark of some content; None if it came without credentials, or is not known here."""
        mark = self._own(digest)
        if mark is None and self._has(digest):
            return None
        for runtime in self._runtimes:
            theirs = runtime(digest)
            if theirs is not None:
                mark = theirs if mark is None else mark | theirs
        return mark

    def may_be_kept(self, digest: Digest) -> bool:
        """Whether some content may be kept on the disk: one of its names is enough."""
        mark = self._own(digest)
        return mark is None or not mark.names or any(self._is_kept(frozenset({name})) for name in mark.names)

    def add(self, digest: Digest, mark: Mark) -> None:
        """Take note of what a registry or a member says of some content."""
        known = self._own(digest)
        if known is None and self._has(digest):
            return
        merged = mark if known is None else known | mark
        if merged == known:
            return
        if digest.hex in self._lasting:
            self._lasting[digest.hex] = merged
            self._on_changed(digest, merged)
            return
        self._passing[digest.hex] = merged
        self._passing.move_to_end(digest.hex)
        while len(self._passing) > _PASSING_MAX:
            self._passing.popitem(last=False)

    def keep(self, digest: Digest) -> Mark | None:
        """Keep the mark of some content, if it has one, for as long as the content is kept; gives it."""
        mark = self._own(digest)
        if mark is not None:
            self._passing.pop(digest.hex, None)
            self._lasting[digest.hex] = mark
        return mark

    def release(self, names: Iterable[str]) -> None:
        """Take note that content is kept no longer, by the hex of its digests. Memory may still have some of it."""
        for name in names:
            mark = self._lasting.pop(name, None)
            if mark is not None:
                self.add(Digest(name), mark)

    def restore(self, name: str, mark: Mark) -> None:
        """Take the mark of content that was kept by an earlier process, by the hex of its digest."""
        self._lasting[name] = mark

    def _own(self, digest: Digest) -> Mark | None:
        return self._lasting.get(digest.hex) or self._passing.get(digest.hex)
