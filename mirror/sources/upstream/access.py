"""What the operator has set about all registries together."""

from dataclasses import dataclass, field

from .credentials import AuthPath
from .reached import Proxies


@dataclass(frozen=True, slots=True)
class Access:
    """How registries are reached, and who this node is to them.

    Args:
        auth: the file of credentials, if there is one.
        proxies: for registries that have none of their own.
    """

    auth: AuthPath | None = None
    proxies: Proxies = field(default_factory=Proxies)
