"""Under which names containerd pulled its content: what its labels say, as marks.

containerd adds a name to content for every image that mentions it, also where it has the content already and asks no
registry for it. So a single name is that of the pull that brought the content; of several, nobody knows which one is.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from ...errors import NameInvalid
from ...oci.digest import Digest
from ...oci.reference import Repository
from ..marks import Mark
from .messages import Blob


class Sources:
    """The marks of what containerd holds.

    Args:
        is_offered: whether content that was pulled under some names is served at all.
    """

    def __init__(self, is_offered: Callable[[frozenset[str]], bool] = lambda names: True) -> None:
        self._is_offered = is_offered
        self._marks: dict[Digest, Mark] = {}

    def of(self, digest: Digest) -> Mark | None:
        """Under which names some content was pulled; None if it is not here, or was imported or built."""
        return self._marks.get(digest)

    @contextlib.contextmanager
    def listing(self) -> Iterator[Callable[[Digest, Blob], bool]]:
        """Read the labels of all content; gives what says of each blob whether it is served.

        At the end of the context, what it was called with is all that there is.
        """
        marks: dict[Digest, Mark] = {}

        def takes(digest: Digest, blob: Blob) -> bool:
            if not blob.sources:
                return True
            mark = marks[digest] = _mark(blob.sources)
            return self._is_offered(mark.names | mark.claimed)

        yield takes
        self._marks = marks


@lru_cache(maxsize=1024)  # the blobs of one image have the same labels
def _mark(sources: tuple[tuple[str, str], ...]) -> Mark:
    names = frozenset(_names(sources))
    merged = Mark(claimed=names) if len(names) != 1 else Mark(names)
    return Mark() | merged


def _names(sources: Iterable[tuple[str, str]]) -> Iterable[str]:
    for registry, repositories in sources:
        for path in repositories.split(","):
            try:
                yield str(Repository.parse(path, registry))
            except NameInvalid:
                continue
