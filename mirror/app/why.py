"""`/api/v1/why`: why an image, or one blob, is here or is not. Nothing is fetched for that, and no registry is asked.

What this node remembers is put together: who was asked for what with which answer, what registries said, what a client
was told that the tag means, and the policy and budget that hold. Only members are asked whether they hold something.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from ..errors import ManifestUnknown, NameInvalid, StorageFailed
from ..fetch.record import Phase, Record
from ..images.manifests import Manifests
from ..images.resolutions import Resolution
from ..images.tags import Answer
from ..oci.descriptors import Named, named_by
from ..oci.digest import Digest
from ..oci.manifest import INDEX_TYPES
from ..oci.names import ANY_REPOSITORY, parse_one
from ..oci.reference import Reference, Repository
from ..pins.records import Record as Pin
from ..settings import AppSettings
from ..sources import RegistryAnswer
from .find import Find
from .pinned import PinnedImages

_FETCHES_MAX: Final = 4
"""Bounds the fetches of one digest that are told, the last ones."""
_ANSWERS_MAX: Final = 8
"""Bounds the answers of registries that are told about one digest or tag, the last ones."""
_BLOBS_MAX: Final = 1024
"""Bounds the content that is told about: with `all`, an index may have hundreds of layers."""


_UNTOLD: Final = "blob or manifest"
"""What a digest is of which this node does not have the content."""
_NO_REPOSITORY: Final = "a registry is asked under a repository's name, and none is known of this digest"


@dataclass(frozen=True, slots=True)
class RegistryStatus:
    """A registry, as this node sees it.

    Args:
        name: of the registry.
        urls: where it is asked, in order; empty if it is not one that this node may contact.
        offline: whether it is never asked.
        out: since when it gives no sign of life, and why that is thought; None if it may be asked.
        budgets: what it still lets the members ask, as rows of JSON.
    """

    name: str
    urls: Sequence[str]
    offline: bool
    out: str | None
    budgets: Sequence[Mapping[str, Any]]

    @property
    def refusal(self) -> str | None:
        """Why it would not be asked now; None if it would."""
        if self.offline:
            return f"{self.name} is never asked by this node: --offline"
        if not self.urls:
            return f"{self.name} is no registry that this node may contact: add --upstream {self.name}=URL"
        waits = [float(row["wait_s"]) for row in self.budgets]
        if max(waits, default=0.0) > 0:
            return f"{self.name} answered 429: nobody asks it for another {max(waits):.0f} s"
        return self.out


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What this node knows without asking anybody. Each callable reads local memory and does not wait.

    Args:
        me: the name of this node.
        records: the last fetches, the oldest first.
        answers: what registries said about a digest, or about a tag of the repository of a name; the last first.
        resolution: what a client was last told that a tag means.
        policy: for how long upstream's word about a tag is good, as a row of JSON.
        registry: a registry.
        holders: names of the members that may hold what has a key, by their filters.
        homes: names of the homes of what has a key, in order, this node included.
        private: of content that came with credentials, the repositories' names and who may have them, as a row of JSON.
        tag_key: the key by which the homes of a tag are chosen now.
    """

    me: str
    records: Callable[[], Iterable[Record]]
    answers: Callable[[str, str | None], Sequence[RegistryAnswer]]
    resolution: Callable[[Reference], Resolution | None]
    policy: Callable[[Reference], Mapping[str, Any]]
    registry: Callable[[str], RegistryStatus]
    holders: Callable[[bytes], Sequence[str]]
    homes: Callable[[bytes], Sequence[str]]
    private: Callable[[Digest], Mapping[str, Any] | None]
    tag_key: Callable[[Reference], bytes]


@dataclass(frozen=True, slots=True)
class _Content:
    """One digest that is told about: as what it is named, with the size in bytes that the manifest states."""

    digest: Digest
    place: str
    size: int | None = None
    media_type: str = ""
    platform: str = ""


class Why:
    """Tells why something is here.

    Args:
        find: asks members what they hold, and what they know of a tag.
        manifests: reads those that are here.
        remembered: what this node knows.
        pins: what is pinned.
        settings: bounds.
    """

    def __init__(
        self,
        find: Find,
        manifests: Manifests,
        remembered: Remembered,
        pins: Callable[[], Iterable[Pin]],
        settings: AppSettings | None = None,
    ) -> None:
        self._pins = pins
        self._find = find
        self._manifests = manifests
        self._remembered = remembered
        self._settings = settings or AppSettings()

    async def why(self, query: str, platform: str, *, everything: bool = False) -> dict[str, Any]:
        """Tell all that is known of an image or digest.

        Args:
            query: an image name such as `nginx:1.27`, or a digest.
            platform: whose image of an index is told about, as `linux/amd64`.
            everything: whether all images of an index are.

        Returns:
            The answer as it goes into JSON; docs/operations.md lists its keys.

        Raises:
            NameInvalid, DigestInvalid: the query is neither.
        """
        wanted = parse_one(query)
        answer: dict[str, Any] = {"node": self._remembered.me, "asked": query, "reference": None, "tag": None}
        digest = wanted.digest
        repository: Repository | None = wanted.repository
        if wanted.reference is not None:
            answer["reference"] = str(wanted.reference)
            answer["tag"] = await self._tag(wanted.reference)
            said = answer["tag"]["said"]
            digest = Digest.parse(said[0]["digest"]) if said else None
        elif digest is not None and repository == ANY_REPOSITORY:
            repository = self._fetched_as(digest)
        contents, notes = ([], []) if digest is None else await self._contents(digest, platform, everything=everything)
        registry = None if repository is None else self._remembered.registry(repository.registry)
        return {
            **answer,
            "digest": digest and str(digest),
            "pinned": digest and PinnedImages(self._pins()).copies(answer["reference"], digest),
            "repository": repository and str(repository),
            "registry": registry and {**asdict(registry), "urls": list(registry.urls), "refusal": registry.refusal},
            "content": await self._rows(contents),
            "next": self._next(wanted.reference, digest, registry),
            "notes": notes,
        }

    async def _tag(self, reference: Reference) -> dict[str, Any]:
        """What is known of a tag: who says what, what upstream said to this node, what a client was last told."""
        remembered = self._remembered
        name, last = str(reference.repository), remembered.resolution(reference)
        return {
            "said": await self._find.tags(reference),
            "upstream": [_answer_row(it) for it in remembered.answers(reference.tag, name)[:_ANSWERS_MAX]],
            "told": last and _told_row(last),
            "policy": dict(remembered.policy(reference)),
            "homes": list(remembered.homes(remembered.tag_key(reference))),
        }

    def _fetched_as(self, digest: Digest) -> Repository | None:
        """The repository under whose name some content was last fetched."""
        for record in reversed([*self._remembered.records()]):
            if record.digest == str(digest):
                try:
                    return Repository.parse(record.repository)
                except NameInvalid:
                    return None
        return None

    async def _contents(self, digest: Digest, platform: str, *, everything: bool) -> tuple[list[_Content], list[str]]:
        """The digest, and what it names, as far as this node holds the manifests; and what a person should know."""
        named = await self._named(digest)
        if named is None:
            return [_Content(digest, _UNTOLD)], []
        media_type, children = named
        if media_type not in INDEX_TYPES:
            own = _Content(digest, "manifest", media_type=media_type)
            return [own, *map(_content, children)][:_BLOBS_MAX], []
        contents, notes = [_Content(digest, "index", media_type=media_type)], list[str]()
        chosen = [it for it in children if everything or it.is_for(platform)]
        if not chosen:
            there = ", ".join(sorted({it.platform for it in children if it.platform})) or "no platform that is named"
            notes.append(
                f"the index has no image for {platform}, but for {there}: name one by --platform, or use --all"
            )
        for child in chosen:
            contents.append(_content(child))
            grandchildren = await self._named(child.digest)
            if grandchildren is None:
                notes.append(f"what {child.digest} names is not known here, for this node does not hold it")
            else:
                contents += map(_content, grandchildren[1])
        unique = list({it.digest: it for it in contents}.values())
        return unique[:_BLOBS_MAX], notes

    async def _named(self, digest: Digest) -> tuple[str, Sequence[Named]] | None:
        """The media type of a manifest that this node holds, and what it names; None if it holds no such manifest."""
        try:
            manifest = await self._manifests.held(digest)
        except (ManifestUnknown, StorageFailed):
            return None
        return None if manifest is None else (manifest.media_type, named_by(manifest.body))

    async def _rows(self, contents: Sequence[_Content]) -> list[dict[str, Any]]:
        """Each with who holds it, how it came here, and what was asked of whom."""
        turn = asyncio.Semaphore(self._settings.holders_asked_max)

        async def holders(digest: Digest) -> list[dict[str, Any]]:
            async with turn:
                return await self._find.holders(digest)

        asking = [asyncio.create_task(holders(content.digest)) for content in contents]
        if asking:
            await asyncio.wait(asking, timeout=self._settings.holders_asked_s)
        rows = []
        for content, task in zip(contents, asking, strict=True):
            if not task.done():
                task.cancel()
            rows.append(self._row(content, self._unasked(content) if not task.done() else task.result()))
        await asyncio.gather(*asking, return_exceptions=True)
        return rows

    def _unasked(self, content: _Content) -> list[dict[str, Any]]:
        """What filters say of who holds some content, where there was no time to ask."""
        names = self._remembered.holders(content.digest.key)
        return [{"member": name, "has": False, "reason": "not asked"} for name in names]

    def _row(self, content: _Content, holders: list[dict[str, Any]]) -> dict[str, Any]:
        remembered, text = self._remembered, str(content.digest)
        mine = next((row for row in holders if row["member"] == remembered.me), None)
        records = [record for record in remembered.records() if record.digest == text][: -_FETCHES_MAX - 1 : -1]
        store = None if mine is None else mine.get("store")
        sizes = [content.size, *(it["bytes"] for it in holders if "bytes" in it)]
        is_manifest = content.place == _UNTOLD and any("blobs" in it for it in holders)
        return {
            "digest": text,
            "kind": "manifest" if is_manifest else content.place,
            "bytes": next((size for size in sizes if size is not None), None),
            "media_type": content.media_type,
            "platform": content.platform,
            "here": store,
            "origin": None if store is None else _origin(store, records),
            "absent": _absence(records) if store is None else None,
            "private": remembered.private(content.digest),
            "holders": holders,
            "fetches": [record.row() for record in records],
            "upstream": [_answer_row(it) for it in remembered.answers(text, None)[:_ANSWERS_MAX]],
        }

    def _next(
        self, reference: Reference | None, digest: Digest | None, registry: RegistryStatus | None
    ) -> dict[str, Any]:
        """Who would be asked next for it, in order, if a client wanted it now."""
        remembered = self._remembered
        if digest is not None:
            key = digest.key
        else:
            assert reference is not None, "only of a tag the digest may be unknown"
            key = remembered.tag_key(reference)
        refusal = _NO_REPOSITORY if registry is None else registry.refusal
        if refusal is None and reference is not None and not remembered.policy(reference)["asks_upstream"]:
            refusal = "its policy is never-upstream"
        return {
            "holders": [name for name in remembered.holders(key) if name != remembered.me],
            "homes": list(remembered.homes(key)),
            "urls": [] if registry is None or refusal is not None else list(registry.urls),
            "refusal": refusal,
        }


def _content(named: Named) -> _Content:
    return _Content(named.digest, named.place, named.size, named.media_type, named.platform)


def _origin(store: str, records: Sequence[Record]) -> dict[str, Any]:
    """How this node came by its copy, by the newest fetch that brought it whole."""
    for record in records:
        if record.outcome is Phase.COMPLETE:
            return {"how": "fetched", "sources": dict(record.sources), "origins": dict(record.origins)}
    # A runtime's store fills by itself. What the cache has without a record was there when the agent started, or is
    # older than the last fetches that are remembered, or was pushed here.
    return {"how": "cache" if store == "cache" else "runtime", "sources": {}, "origins": {}}


def _absence(records: Sequence[Record]) -> str:
    """Why this node does not have some content, as far as it remembers."""
    if not records:
        return "nobody has asked this node for it since the agent started, as far as it remembers"
    last = records[0]
    if last.outcome is Phase.FAILED and last.failures:
        return f"the last fetch failed: {last.failures[-1]}"
    return _ABSENCES[last.outcome]


_ABSENCES: Final = {
    Phase.RUNNING: "it is on its way",
    Phase.COMPLETE: "it was here, and has left the cache since, or passed through memory",
    Phase.RELAYED: "only other members asked for it, or for parts of it, and they have them",
    Phase.FAILED: "the last fetch failed",
    Phase.ABANDONED: "who asked for it went away before it was whole",
}


def _answer_row(answer: RegistryAnswer) -> dict[str, Any]:
    """An answer of a registry, with its age: clocks of those who read it may differ."""
    row = asdict(answer)
    row["age_seconds"] = round(max(0.0, time.time() - row.pop("at_unix_s")), 1)
    row["seconds"] = round(answer.seconds, 4)
    return row


def _told_row(told: Resolution) -> dict[str, Any]:
    """What a client was told."""
    answer = told.answer
    known = isinstance(answer, Answer)
    return {
        "age_seconds": round(max(0.0, time.time() - told.at_unix_s), 1),
        "seconds": round(told.seconds, 4),
        "digest": str(answer.tag.digest) if isinstance(answer, Answer) else None,
        "warning": answer.warning if isinstance(answer, Answer) else None,
        "member": answer.member if isinstance(answer, Answer) else None,
        "failure": None if known else answer,
    }
