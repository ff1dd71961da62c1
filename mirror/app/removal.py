"""Orders to delete: `/api/v1/delete` and `/api/v1/prune`. Only who may write here is let in."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import asdict
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..errors import DigestInvalid, NameInvalid, PeerError, Pinned, StorageFailed
from ..images.pruning import Plan, Rule
from ..images.removal import Removal
from ..oci.digest import Digest
from ..oci.names import parse_one
from ..oci.reference import Reference
from ..routers import Peer
from ..settings import AppSettings
from .writers import Writers, refused

_IMAGES_SHOWN_MAX: Final = 10_000
"""Bounds the images in one answer."""
_NO_KEY: Final = (
    "this cluster has no key, so no member can prove who orders it to delete something: delete on each node, or give "
    "every node the same key with --key-file"
)
MEANINGS_MAX: Final = 8
"""Bounds the digests that members say a tag means, and that one order names."""
_SECONDS_MAX: Final = 10**10
_BYTES_MAX: Final = 1 << 62


class RemovalEndpoint:
    """The routes by which content is deleted.

    Args:
        me: the name of this node.
        removal: deletes from its cache.
        members: those that are up.
        ask: has one of them delete something, by the text of an order; raises PeerError. None: nobody takes such
            orders, for the cluster has no key.
        meanings: asks members what a tag means: its digests.
        writers: decides who may.
        settings: for how long members are waited for.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - who deletes what, for whom
        self,
        me: str,
        removal: Removal,
        members: Callable[[], Sequence[Peer]],
        ask: Callable[[Peer, str, Collection[str]], Awaitable[dict[str, Any]]] | None,
        meanings: Callable[[Reference], Awaitable[Collection[str]]],
        writers: Writers,
        settings: AppSettings | None = None,
    ) -> None:
        self._me = me
        self._removal = removal
        self._members = members
        self._ask = ask
        self._meanings = meanings
        self._writers = writers
        self._settings = settings or AppSettings()

    def routes(self) -> list[Route]:
        """The routes, for a Starlette application."""
        return [
            Route("/api/v1/delete", self.delete, methods=["POST"]),
            Route("/api/v1/prune", self.prune, methods=["POST"]),
        ]

    async def delete(self, request: Request) -> Response:
        """Delete `{"what": image or digest, "everywhere": whether all members do}`."""
        return await self._writers.answer(request, self._delete)

    async def prune(self, request: Request) -> Response:
        """Delete by `{"unused_s", "keep_bytes", "dry_run"}`; what would go is the answer to a dry run."""
        return await self._writers.answer(request, self._prune)

    async def _delete(self, order: dict[str, Any]) -> Response:
        target, everywhere = parse_target(order.get("what")), order.get("everywhere") is True
        if everywhere and self._ask is None:
            return refused(409, _NO_KEY)
        meant: list[str] = []
        if everywhere and isinstance(target, Reference):
            meant = sorted(await self._meanings(target))[:MEANINGS_MAX]
        try:
            meanings = {Digest.parse(text) for text in meant}
            mine = asdict(await self._removal.delete(target, meanings, everywhere=everywhere))
        except Pinned as error:
            return refused(409, str(error))
        except StorageFailed as error:
            return refused(500, str(error))
        peers = list(self._members()) if everywhere else []
        others = await asyncio.gather(*(self._by_member(peer, str(target), meant) for peer in peers))
        rows = [{"member": self._me, "problem": None, **mine}, *others]
        return JSONResponse({"node": self._me, "what": str(target), "members": rows})

    async def _by_member(self, peer: Peer, what: str, meant: Collection[str]) -> dict[str, Any]:
        """What a member deleted, or why it did not."""
        try:
            async with asyncio.timeout(self._settings.images_s):
                assert self._ask is not None, "it was looked at before"
                return {"member": peer.name, **await self._ask(peer, what, meant)}
        except TimeoutError:
            problem = f"it has not answered within {self._settings.images_s:g} s"
        except PeerError as error:
            problem = str(error)
        return {"member": peer.name, "problem": problem}

    async def _prune(self, order: dict[str, Any]) -> Response:
        unused_s, keep_bytes = order.get("unused_s"), order.get("keep_bytes")
        if unused_s is None and keep_bytes is None:
            raise ValueError("give unused_s, keep_bytes, or both")
        if unused_s is not None and not (type(unused_s) in (int, float) and 0 <= unused_s <= _SECONDS_MAX):
            raise ValueError("unused_s is a number of seconds")
        if keep_bytes is not None and not (type(keep_bytes) is int and 0 <= keep_bytes <= _BYTES_MAX):
            raise ValueError("keep_bytes is a number of bytes")
        rule, is_dry = Rule(unused_s, keep_bytes), order.get("dry_run") is True
        plan = await (self._removal.plan(rule) if is_dry else self._removal.prune(rule))
        return JSONResponse({"node": self._me, "dry_run": is_dry, **_plan_row(plan)})


def parse_target(what: object) -> Reference | Digest:
    """What is to be deleted: a tag, or a digest; raise ValueError for anything else."""
    text = what if isinstance(what, str) else ""
    try:
        wanted = parse_one(text)
    except (NameInvalid, DigestInvalid) as error:
        raise ValueError(f"{text[:200]!r} is no image name and no digest: {error}") from None
    target = wanted.reference or wanted.digest
    assert target is not None, "an image is named by one of them"
    return target


def _plan_row(plan: Plan) -> dict[str, Any]:
    images = [
        {"reference": it.reference, "digest": str(it.digest), "bytes": it.bytes, "used_unix_s": it.used_unix_s}
        for it in plan.images[:_IMAGES_SHOWN_MAX]
    ]
    return {
        "images": images,
        "blobs": len(plan.blobs),
        "bytes": plan.bytes,
        "pinned": plan.pinned,
        "read": plan.read,
    }
