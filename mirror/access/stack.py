"""How the parts that decide who may have private content are put together; the agent does it once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..settings import AccessSettings
from ..sources import GuestSource, SizedSource
from ..stores.marks import Marks
from .checks import Checks
from .gate import Gate
from .offers import Offers
from .policies import PrivatePolicies
from .visibility import Visibility


@dataclass(frozen=True, slots=True)
class AccessStack:
    """The parts of a node that decide.

    Args:
        gate: for clients.
        offers: for members.
        visibility: knows what is public.
        checks: knows whose credentials are good.
    """

    gate: Gate
    offers: Offers
    visibility: Visibility
    checks: Checks

    @classmethod
    def build(  # noqa: PLR0913 - what the agent has built before
        cls,
        policies: PrivatePolicies,
        marks: Marks,
        upstream: SizedSource,
        guests: GuestSource,
        *,
        file: Path | None = None,
        tally: Callable[[str], object] = lambda outcome: None,
        is_member: Callable[[str], bool] = lambda password: False,
        settings: AccessSettings | None = None,
    ) -> "AccessStack":
        """Put the parts together; `file`: where it is kept which repositories are public; otherwise as `Gate`."""
        visibility, checks = Visibility(guests, file, settings), Checks(guests, settings)
        gate = Gate(policies, marks, visibility, checks, upstream, guests, tally, is_member, settings)
        return cls(gate, Offers(policies, marks, visibility), visibility, checks)

    async def close(self) -> None:
        """Give up what is under way."""
        await self.checks.close()
        await self.visibility.close()
