"""The kinds of filters, by the name that settings give them."""

from collections.abc import Callable
from typing import Final

from ..config import GossipConfig
from ..messages import FilterKind
from .bloom import BloomRules
from .exact import ExactRules
from .filters import FilterRules

_RULES: Final[dict[FilterKind, Callable[[GossipConfig], FilterRules]]] = {
    FilterKind.BLOOM: lambda config: BloomRules(config.filter_bits_per_key, config.filter_bits_log2_max),
    FilterKind.EXACT: lambda config: ExactRules(config.filter_bits_log2_max),
}


def rules_of(config: GossipConfig) -> FilterRules:
    """The rules of the kind of filters that a node of these settings publishes and takes in."""
    return _RULES[config.filters](config)
