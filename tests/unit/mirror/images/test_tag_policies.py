"""Policies for tags, as operators write them."""

import math
from typing import Any

import pytest

from mirror.errors import ConfigError
from mirror.images.tag_policies import TagPolicies, TagPolicy, policies_of
from mirror.oci.reference import Reference


def test_the_first_pattern_that_fits_counts() -> None:
    policies = policies_of(
        [
            {"pattern": "docker.io/library/*:latest", "fresh-for": "5m", "stale-while-revalidate": "1h"},
            {"pattern": ["docker.io/*", "ghcr.io/org/app"], "pin": True},
            {"pattern": "lab.example/*", "never-upstream": True, "stale-if-error": "7d"},
            {"pattern": "quay.io/a/b:v*", "fresh-for": "forever", "never-upstream": False, "pin": False},
        ]
    )
    pinned = TagPolicy(fresh_s=math.inf)
    for name, policy in (
        ("nginx", TagPolicy(fresh_s=300, revalidate_s=3600)),
        ("nginx:1.27", pinned),
        ("ghcr.io/org/app:3", pinned),
        ("ghcr.io/org/app2:3", TagPolicy()),
        ("ghcr.io/org/application:3", TagPolicy()),
        ("lab.example/x:1", TagPolicy(asks_upstream=False, error_s=7 * 86400)),
        ("quay.io/a/b:v1", TagPolicy()),
    ):
        assert policies.of(Reference.parse(name)) == policy, name
    assert policies.of(Reference.parse("localhost:5000/lab/x:1")) == TagPolicy()
    assert TagPolicies().of(Reference.parse("nginx")) == TagPolicy()


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({}, "tag: a table has no pattern"),
        ({"pattern": []}, "tag: a table has no pattern"),
        ({"pattern": [1]}, "tag: a table has no pattern"),
        ({"pattern": "nginx"}, "tag 'nginx': no such name; give REGISTRY/REPOSITORY:TAG"),
        ({"pattern": "a/b c"}, "tag 'a/b c': no such name"),
        ({"pattern": "a/b", "fresh": "5m"}, "tag 'a/b': fresh: no such key; is fresh-for meant?"),
        ({"pattern": "a/b", "fresh-for": "5"}, "tag 'a/b': fresh-for: give a time such as 30s"),
        ({"pattern": "a/b", "fresh-for": 5}, "tag 'a/b': fresh-for: give a time such as 30s"),
        ({"pattern": "a/b", "pin": "yes"}, "tag 'a/b': pin: give true or false"),
    ],
)
def test_a_table_that_is_wrong_is_named_with_what_is_allowed(table: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        policies_of([table])
    assert str(refusal.value).startswith(complaint)


@pytest.mark.parametrize("tables", ["nginx", ["nginx"], {"pattern": "a/b"}])
def test_a_policy_is_a_table_of_its_own(tables: Any) -> None:
    with pytest.raises(ConfigError, match="begins with"):
        policies_of(tables)
