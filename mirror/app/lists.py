"""Pages of lists for clients: of tags, and of the manifests that refer to one."""

import json

from ..images.listings import TagPage
from ..oci.digest import Digest
from ..sources import Page
from .backend import Backend
from .request import ListRequest


async def page_of(backend: Backend, request: ListRequest) -> tuple[Page, str | None]:
    """The page that a client asks for, and what a person should know about it.

    Raises:
        OciError: there is none, or nobody who may know it can be asked.
    """
    if request.referred is None:
        return await _tags(backend, request)
    return await _referrers(backend, request, request.referred)


async def _tags(backend: Backend, request: ListRequest) -> tuple[Page, str | None]:
    listings = backend.listings
    if request.is_hop:
        tags = TagPage(listings.held(request.repository))
    else:
        tags = await listings.tags(request.repository, request.query)
    return Page(json.dumps({"name": request.name, "tags": tags.tags}).encode(), tags.following), tags.warning


async def _referrers(backend: Backend, request: ListRequest, subject: Digest) -> tuple[Page, str | None]:
    if request.is_hop:
        return backend.referrers.held(subject), None
    found = await backend.referrers.page(request.repository, subject, request.query)
    return found.page, found.warning
