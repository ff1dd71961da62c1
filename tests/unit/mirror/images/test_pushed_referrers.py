"""What was pushed and refers to a manifest, as a list has it."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

from mirror.images.own_tags import OwnTags
from mirror.images.pushed_referrers import PushedReferrers
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.manifest import OCI_MANIFEST
from mirror.oci.reference import Repository

APP = Repository("docker.io", "lab/app")
IMAGE, OTHER = Digest.of(b"image"), Digest.of(b"another image")


def signature(of: Digest, text: str, note: str = "") -> bytes:
    subject = {"mediaType": OCI_MANIFEST, "digest": str(of), "size": 5}
    config = {"mediaType": "application/x.sig", "digest": str(Digest.of(text.encode())), "size": len(text)}
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config,
        "layers": [],
        "subject": subject,
    }
    document |= {"annotations": {"note": note}} if note else {}
    return json.dumps(document).encode()


def listed(bodies: list[bytes]) -> tuple[list[str], int]:
    """The digests in the list of what refers to `IMAGE`, and how many manifests were read for it."""
    by_digest, read = {Digest.of(body): body for body in bodies}, list[Digest]()

    async def get(content: Content) -> Any:
        read.append(content.digest)
        return SimpleNamespace(body=by_digest[content.digest]), None

    async def story() -> list[str]:
        own = OwnTags(None)
        for digest in by_digest:
            await own.refer(APP, IMAGE, digest)
        manifests: Any = SimpleNamespace(get=get)
        return [str(it["digest"]) for it in await PushedReferrers(own, manifests).of(APP, IMAGE) or []]

    return asyncio.run(story()), len(read)


def test_a_tag_with_the_name_of_such_a_record_lists_nothing_that_refers_to_something_else() -> None:
    right = signature(IMAGE, "right")
    assert listed([right, signature(OTHER, "of another")]) == ([str(Digest.of(right))], 2)


def test_long_annotations_take_no_more_memory_than_a_list_may_have() -> None:
    found, read = listed([signature(IMAGE, str(number), "x" * (1 << 20)) for number in range(20)])
    assert (len(found), read) == (3, 4)
