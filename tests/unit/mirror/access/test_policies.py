"""Policies of private images: read from tables, found by patterns, refused with what is allowed."""

from typing import Any

import pytest

from mirror.access import PrivatePolicies, PrivatePolicy, Sharing, private_of
from mirror.errors import ConfigError
from mirror.oci.reference import Repository

APP, NGINX = Repository("registry.example.com:5000", "team/app"), Repository("docker.io", "library/nginx")


def test_the_first_pattern_that_fits_counts_and_the_rest_is_shared() -> None:
    policies = private_of(
        [
            {"pattern": "registry.example.com:5000/team/*", "policy": "checked", "accepted-for": "2h"},
            {"pattern": ["registry.example.com:5000/*", "ghcr.io/acme/*"], "policy": "off"},
        ]
    )
    assert policies.of(APP) == PrivatePolicy(Sharing.CHECKED, 7200.0)
    assert policies.of("registry.example.com:5000/other").sharing is Sharing.OFF
    assert policies.of("ghcr.io/acme/x").sharing is Sharing.OFF
    assert policies.of(NGINX) == PrivatePolicy()
    assert policies.has_checked
    assert not policies.all_shared


def test_without_tables_all_is_shared() -> None:
    assert private_of([]) == PrivatePolicies()
    assert private_of([]).all_shared
    assert not private_of([]).has_checked


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"policy": "off"}, "no pattern"),
        ({"pattern": "docker.io/*"}, "policy: give shared, checked or off"),
        ({"pattern": "docker.io/*", "policy": "secret"}, "policy: give shared, checked or off"),
        ({"pattern": "docker.io/*", "policy": "off", "polcy": 1}, "is policy meant"),
        ({"pattern": "docker.io", "policy": "off"}, "no such name; give REGISTRY/REPOSITORY"),
        ({"pattern": "docker.io/UPPER", "policy": "off"}, "in lower case"),
        ({"pattern": "docker.io/*", "policy": "checked", "accepted-for": "0s"}, "of at most 24h"),
        ({"pattern": "docker.io/*", "policy": "checked", "accepted-for": "25h"}, "of at most 24h"),
        ({"pattern": "docker.io/*", "policy": "checked", "accepted-for": 10}, "accepted-for: give a time"),
        ({"pattern": "docker.io/*", "policy": "off", "accepted-for": "10m"}, "with the policy checked alone"),
        ("text", r"begins with \[\[private\]\]"),
    ],
)
def test_what_is_wrong_is_said_with_what_is_allowed(table: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        private_of([table])
