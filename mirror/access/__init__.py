"""Who may have content that needed credentials upstream: the operator's policy, and what follows from it.

A node asks registries with the operator's credentials, so it holds what not everybody may have. `policies` is what the
operator says of that, `visibility` which repositories are public, `checks` whose credentials a registry has accepted;
`gate` decides for clients, `offers` for members. Content is known by its `stores.marks`.
"""

from .checks import Checks
from .gate import Gate, Passage
from .offers import Offers
from .policies import PrivatePolicies, PrivatePolicy, Sharing, private_of
from .stack import AccessStack
from .staged import Staged
from .visibility import Visibility

__all__ = [
    "AccessStack",
    "Checks",
    "Gate",
    "Offers",
    "Passage",
    "PrivatePolicies",
    "PrivatePolicy",
    "Sharing",
    "Staged",
    "Visibility",
    "private_of",
]
