"""How a node deals with private content: who decides, and where that is answered from which is kept nowhere."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..access import AccessStack, PrivatePolicies, Staged
from ..images.tag_policies import TagPolicies
from ..metrics import Metrics
from ..oci.digest import Digest
from ..oci.reference import Repository
from ..settings import Settings
from ..sources import STAGED, GuestSource
from ..sources.chain import Chain
from ..sources.outages import Outages
from ..stores.marks import Mark, Marks
from .apart import Registries, backend_apart
from .backend import Backend
from .client import ClientEndpoint


@dataclass(frozen=True, slots=True)
class PrivateContent:
    """What a node has for private content.

    Args:
        access: decides who may have what.
        apart: what is to be kept nowhere is answered from this.
        marks: of content.
        staged: what was sent to be mounted.
    """

    access: AccessStack
    apart: Backend
    marks: Marks
    staged: Staged = field(default_factory=Staged)

    @classmethod
    def build(  # noqa: PLR0913 - what the agent has built before
        cls,
        me: str,
        policies: PrivatePolicies,
        marks: Marks,
        upstream: Registries,
        guests: GuestSource,
        *,
        metrics: Metrics,
        settings: Settings,
        outages: Outages,
        file: Path,
        tags: TagPolicies | None = None,
        is_member: Callable[[str], bool] = lambda password: False,
    ) -> "PrivateContent":
        """Put the parts together.

        Args:
            me: this node's name.
            policies: what the operator says of private content.
            marks: of content.
            upstream: asks registries,
            guests: and that as somebody else.
            metrics: counts.
            settings: bounds and durations.
            outages: knows the registries that do not answer.
            file: where it is kept which repositories are public.
            tags: for how long upstream's word about tags is good.
            is_member: whether a password was made with a key of the cluster.
        """
        access = AccessStack.build(
            policies,
            marks,
            upstream,
            guests,
            file=file,
            tally=lambda outcome: metrics.private_requests.labels(outcome).inc(),
            is_member=is_member,
            settings=settings.access,
        )
        apart = backend_apart(me, upstream, metrics, settings, outages=outages, policies=tags)
        return cls(access, apart, marks, Staged(settings.access))

    def endpoint(self, backend: Backend, chain: Chain, registry: str | None = None) -> ClientEndpoint:
        """A client endpoint, which answers from a backend, or from the one apart; otherwise as `ClientEndpoint`."""
        gate = self.access.gate
        apart = ClientEndpoint(self.apart, chain, gate.behind(), registry=registry, pulls=backend.pulls)
        return ClientEndpoint(backend, chain, gate, apart, registry)

    def offers(self, names: frozenset[str]) -> bool:
        """Whether what came under some names may be kept here, and be offered to members."""
        return self.access.offers.has_copy(names)

    def published(self, repository: Repository, digest: Digest) -> None:
        """Take note that somebody who has some content put all of it into a repository here."""
        if str(repository) == STAGED:
            self.staged.add(digest)
        elif self.marks.of(digest) is not None:
            self.marks.add(digest, Mark.of(repository))

    def must_be_sent(self, digest: Digest) -> bool:
        """Whether only who sends some content may have it in another repository: that he names it is no proof."""
        return self.marks.of(digest) is not None and digest not in self.staged

    async def start(self) -> None:
        """Read what an earlier process found out."""
        await self.access.visibility.start()

    async def close(self) -> None:
        """Give up what is under way."""
        await self.access.close()
        await self.apart.close()
