"""Which content belongs to which image, as containerd's own labels say.

containerd labels a manifest, and an index, with what it refers to: its garbage collector goes by that. A label may name
what was never pulled, such as the manifests of other platforms; that is left out.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

from ...errors import DigestInvalid
from ...oci.digest import Digest


class Trees:
    """The images of one listing, each with what belongs to it.

    Args:
        images: the manifests and indexes that have a name.
        refers_to: of content that refers to other content, to what, as its labels say.
        content: all that is here.
    """

    def __init__(
        self,
        images: Iterable[str] = (),
        refers_to: Mapping[Digest, tuple[str, ...]] | None = None,
        content: Mapping[Digest, int] | None = None,
    ) -> None:
        self._content = content or {}
        self._images = {digest for digest in _digests(images) if digest in self._content}
        self._refers_to = refers_to or {}
        self._referred_by: dict[Digest, list[Digest]] | None = None

    def has(self, image: Digest) -> bool:
        """Whether an image has a name still: if not, containerd removes it, unless a lease keeps it."""
        return image in self._images

    def of(self, image: Digest, most: int) -> tuple[Digest, ...]:
        """What belongs to an image, itself first, and then manifests before layers; no more than `most`."""
        return tuple(islice(self._reached(image, self._below), most))

    def with_content(self, digest: Digest, most: int) -> list[Digest]:
        """The images to which some content belongs, no more than `most`."""
        above = self._reached(digest, lambda it: self._above.get(it, ()))
        return list(islice((it for it in above if it in self._images), most))

    def _below(self, digest: Digest) -> Iterator[Digest]:
        return (it for it in _digests(self._refers_to.get(digest, ())) if it in self._content)

    @property
    def _above(self) -> Mapping[Digest, list[Digest]]:
        """What refers to some content; found when it is asked for first, for most listings are never asked."""
        if self._referred_by is None:
            self._referred_by = defaultdict(list)
            for digest in self._refers_to:
                for below in self._below(digest):
                    self._referred_by[below].append(digest)
        return self._referred_by

    @staticmethod
    def _reached(start: Digest, steps: Callable[[Digest], Iterable[Digest]]) -> Iterator[Digest]:
        """Everything that can be reached from some content, itself first, the nearest first, each once."""
        seen, level = {start}, [start]
        while level:
            yield from level
            level = [it for it in dict.fromkeys(far for near in level for far in steps(near)) if it not in seen]
            seen.update(level)


def _digests(texts: Iterable[str]) -> Iterator[Digest]:
    for text in texts:
        try:
            yield Digest.parse(text)
        except DigestInvalid:
            continue
