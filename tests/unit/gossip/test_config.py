"""Settings: presets, bounds, and values that contradict each other."""

from collections.abc import Callable
from typing import Any

import pytest

from gossip.core.config import GossipConfig, fast, lan, local
from gossip.core.errors import ConfigError


@pytest.mark.parametrize("preset", [lan, fast, local])
def test_presets_are_valid_and_carry_their_label(preset: Callable[..., GossipConfig]) -> None:
    assert preset(label="here").label == "here"


def test_lan_is_the_default() -> None:
    assert lan() == GossipConfig()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("probe_interval_s", 0),
        ("probe_interval_s", float("nan")),
        ("probe_timeout_s", "1"),
        ("indirect_probes", 2.5),
        ("indirect_probes", True),
        ("gossip_fanout", 0),
        ("datagram_max_bytes", 100_000),
        ("rebuild_share", 0.0),
        ("members_max", 1),
    ],
)
def test_value_out_of_bounds_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"{name} = .* must be a"):
        GossipConfig(**{name: value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"probe_timeout_s": 1.0}, "must be below probe_interval_s"),
        ({"filter_bits_per_key": 24}, "power of two"),
        ({"members_max": 1024, "directory_max_bytes": (1 << 21) - 1}, "must be at least 2097152"),
        ({"label": "x" * 256}, "label"),
        ({"filters": "exact"}, "must be FilterKind"),
    ],
)
def test_values_that_contradict_each_other_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GossipConfig(**settings)
