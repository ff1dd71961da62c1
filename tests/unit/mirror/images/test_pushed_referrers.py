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


def signature(of: Digest, text: str) -> bytes:
    subject = {"mediaType": OCI_MANIFEST, "digest": str(of), "size": 5}
    config = {"mediaType": "application/x.sig", "digest": str(Digest.of(text.encode())), "size": len(text)}
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [], "subject": subject}
    return json.dumps(document).encode()


def test_a_tag_with_the_name_of_such_a_record_lists_nothing_that_refers_to_something_else() -> None:
    bodies = {Digest.of(body): body for body in (signature(IMAGE, "right"), signature(OTHER, "of another"))}

    async def get(content: Content) -> Any:
        return SimpleNamespace(body=bodies[content.digest]), None

    async def story() -> list[str]:
        own = OwnTags(None)
        for digest in bodies:
            await own.refer(APP, IMAGE, digest)
        manifests: Any = SimpleNamespace(get=get)
        listed = await PushedReferrers(own, manifests).of(APP, IMAGE)
        return [str(it["digest"]) for it in listed or []]

    assert asyncio.run(story()) == [str(next(iter(bodies)))]
