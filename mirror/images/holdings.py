"""The holdings: what this node can serve from all its stores together; the router advertises it."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from ..errors import StorageFailed
from ..oci.content import Parts
from ..oci.descriptors import Named
from ..oci.digest import Digest
from ..oci.reference import Reference, Repository
from ..routers import Router
from ..stores import Held, Store, Tag


class Holdings:
    """All stores of a node as one. Content that several of them have is advertised until the last of them drops it.

    Args:
        stores: in the order in which they are asked.
        router: advertises what appears, and withdraws what vanishes.
    """

    def __init__(self, stores: Sequence[Store], router: Router) -> None:
        self._stores = stores
        self._router = router
        self._count: Counter[bytes] = Counter()

    async def start(self) -> None:
        """Start all stores and advertise what they hold."""
        for store in self._stores:
            await store.start(self)

    async def close(self) -> None:
        """Stop all stores."""
        for store in self._stores:
            await store.close()

    def __len__(self) -> int:
        return len(self._count)

    def has(self, digest: Digest) -> bool:
        """Whether any store says that it holds some content; reads local memory."""
        return digest.key in self._count

    def parts_of(self, named: Iterable[Named]) -> Parts:
        """How much is here of what a manifest names; what it has itself nobody need ask for."""
        unique = {it.digest: it for it in named}.values()
        return Parts(sum(it.is_embedded or self.has(it.digest) for it in unique), len(unique))

    def open(self, digest: Digest) -> Held | None:
        """Open content that any store holds, or return None.

        If several stores hold it, the last one is read, which is the runtime's: reading the cache's copy would count
        as a use, and keep a copy that is not needed.

        Raises:
            StorageFailed: it is here, but no store can open it now.
        """
        failure: StorageFailed | None = None
        for store in self._stores if self._count[digest.key] < 2 else reversed(self._stores):
            try:
                held = store.open(digest)
            except StorageFailed as error:
                failure = failure or error
                continue
            if held is not None:
                return held
        if failure is not None:
            raise failure
        return None

    def named(self) -> Iterator[Digest]:
        """What it holds by its sha256, in the order in which it came; a key has no room for all of a sha512."""
        return (Digest(key.hex()) for key in tuple(self._count))

    async def verify(self, digest: Digest) -> bool:
        """Hash every copy of some content at once, and drop those that are wrong; return whether a right one is here.

        Raises:
            StorageFailed: no right copy is known to be here, and one cannot be read now. All others were hashed.
        """
        is_here = False
        failure: StorageFailed | None = None
        for store in self._stores:
            try:
                held = store.open(digest)
                if held is not None:
                    with held:
                        is_here |= await held.is_right()
            except StorageFailed as error:
                failure = failure or error
        if failure is not None and not is_here:
            raise failure
        return is_here

    def tags(self, reference: Reference) -> list[Tag]:
        """What each store knows of a tag, in the order of the stores."""
        return [tag for store in self._stores if (tag := store.tag(reference)) is not None]

    def tags_of(self, repository: Repository) -> set[str]:
        """The tags that the stores know of a repository."""
        return {it.tag for store in self._stores for it in store.references() if it.repository == repository}

    def references(self) -> set[Reference]:
        """All tags that the stores know."""
        return {reference for store in self._stores for reference in store.references()}

    def appeared(self, keys: Collection[bytes]) -> None:
        """A store can serve these keys from now on (`Listener`)."""
        new = [key for key in keys if not self._count[key]]
        self._count.update(keys)
        twice = [key for key in keys if self._count[key] > 1]
        if twice:
            for store in self._stores:
                store.mark_redundant(twice)
        if new:
            self._router.advertise(new)

    def vanished(self, keys: Collection[bytes]) -> None:
        """A store no longer serves these keys (`Listener`)."""
        self._count.subtract(keys)
        gone = [key for key in keys if self._count[key] <= 0]
        for key in gone:
            del self._count[key]
        if gone:
            self._router.withdraw(gone)
