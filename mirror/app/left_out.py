"""Images that the operator leaves to their registries: clients of this node are told at once that they are not here.

A runtime asks the registry itself then. So this is for what must not go through the cluster, or gains nothing by it.
"""

import logging
from collections.abc import Sequence
from fnmatch import fnmatchcase

from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import NameUnknown, OciError
from ..oci.reference import Reference
from .request import ListRequest, RegistryRequest, parse
from .responses import send_error

log = logging.getLogger(__name__)


class LeftOut:
    """An application that answers what is read of all images but some.

    Args:
        app: answers the others.
        patterns: of names as in `docker.io/library/nginx`, or with a tag; `*` stands for any characters. What is asked
            for by its digest has no tag.
        registry: of requests that name none.
    """

    def __init__(self, app: ASGIApp, patterns: Sequence[str], registry: str | None = None) -> None:
        self._app = app
        self._patterns = patterns
        self._registry = registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or leave it to the registry."""
        if (name := self._left_out(scope)) is None:
            await self._app(scope, receive, send)
        else:
            log.debug("%s %s: 404, left to the registry", scope["method"], scope["path"][:300])
            await send_error(scope, send, NameUnknown(f"{name} is left to its registry, as --leave-out says"))

    def _left_out(self, scope: Scope) -> str | None:
        """The name of what is asked for, if a pattern fits it."""
        try:
            request = parse(scope, self._registry)
        except OciError:  # it is answered where all requests are
            return None
        if request is None:
            return None
        names = _names_of(request)
        return next((name for name in names for pattern in self._patterns if fnmatchcase(name, pattern)), None)


def _names_of(request: RegistryRequest | ListRequest) -> list[str]:
    """By which names patterns know what is asked for."""
    names = [str(request.repository)]
    if isinstance(request, RegistryRequest) and isinstance(request.what, Reference):
        names.append(str(request.what))
    return names
