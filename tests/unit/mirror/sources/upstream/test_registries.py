"""What an operator may write for a registry, and what he is told otherwise."""

import pytest

from mirror.errors import ConfigError
from mirror.sources.upstream.registries import PUBLIC_REGISTRIES, Registry, known_registries


@pytest.mark.parametrize(
    ("text", "name", "url"),
    [
        ("docker.io=https://hub.example", "docker.io", "https://hub.example"),
        ("index.docker.io=http://hub.example:8080", "docker.io", "http://hub.example:8080"),
        ("Registry.Example:5000=http://10.0.0.1:5000/", "registry.example:5000", "http://10.0.0.1:5000"),
        ("docker.io=https://Mirror.Example/cache/hub/", "docker.io", "https://mirror.example/cache/hub"),
        ("six=http://[fd00::1]:5000", "six", "http://[fd00::1]:5000"),
    ],
)
def test_reads_names_and_urls_into_one_form(text: str, name: str, url: str) -> None:
    assert Registry.parse(text) == Registry(name, url)


def test_userinfo_is_decoded_and_leaves_the_url() -> None:
    registry = Registry.parse("quay.io=https://robot%2Bci:p%40ss%3Aw%2Frd@quay.io")
    assert registry == Registry("quay.io", "https://quay.io", "robot+ci", "p@ss:w/rd")


@pytest.mark.parametrize(
    ("url", "api"),
    [
        ("https://quay.io", "https://quay.io/v2"),
        ("https://host/artifactory/api/docker/hub", "https://host/artifactory/api/docker/hub/v2"),
        ("https://harbor/v2/hub-cache", "https://harbor/v2/hub-cache"),
        ("https://v2", "https://v2/v2"),
    ],
)
def test_repositories_are_below_v2_once(url: str, api: str) -> None:
    assert Registry("x", url).api == api


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("docker.io", "not of that form"),
        ("=https://hub.example", "host name"),
        ("docker.io=", "host name"),
        ("docker.io=hub.example", "host name"),
        ("docker.io=ftp://hub.example", "scheme"),
        ("docker.io=https://", "host name"),
        ("docker.io=https://hub.example:99999", "host name"),
        ("docker.io=https://hub.example?a=b", "query"),
        ("docker.io=https://hub.example#", "fragment"),
        ("docker.io=https://hub example", "not of that form"),
        ("docker.io=https://hub.example\r\nHost: x", "not of that form"),
        ("UPPER_case=https://hub.example", "host name"),
        ("docker.io=https://user@hub.example", "without a password"),
        ("docker.io=https://:secret@hub.example", "without a user"),
        ("docker.io=https://a%3Ab:secret@hub.example", "colon"),
        ("docker.io=https://[::1:5000", "upstream"),
        ("docker.io=https://user:p@ss@hub.example", "%40"),
        ("docker.io=https://user:123/ss@hub.example", "%2F"),
        ("docker.io=https://user:p@s/s@hub.example/path", "%2F"),
        ("docker.io=https://user:a?b@hub.example", "%3F"),
        ("docker.io=https://user:100%@hub.example", "%25"),
        ("docker.io=https://user:100%xy@hub.example", "%25"),
        ("docker.io=http://127.1:5000", "neither a name nor an address"),
        ("docker.io=http://2130706433", "neither a name nor an address"),
    ],
)
def test_refuses_with_what_is_wrong_and_what_is_allowed(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        Registry.parse(text)
    message = str(refusal.value)
    assert complaint in message
    assert "allowed is REGISTRY=URL" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "text",
    [
        "docker.io=ftp://user:hunter2@hub.example",
        "docker.io=user:hunter2@hub.example",
        "docker.io=https://user:hunter2/@hub.example?x",
        "docker.io=https://user:x@hunter2@hub.example?x",
        "bad_name=https://user:hunter2@hub.example",
        "docker.io=https://user:hunter2 @hub.example",
        "docker.io=https://user:\nhunter2@hub.example",
        "lab:5000=https://user:hunter2=@hub.example?x",
        "https://user:hunter2=@hub.example",
        "user:hunter2=@hub.example",
        "docker.io=https://user:hunter2",  # a comma in the password ends it in a variable
        "docker.io=https://user:hunter2/x",
        "docker.io=https://user:1/hunter2@hub.example",
        "docker.io=https://user:1@2/hunter2@hub.example",
        "docker.io=https://user:hunter2%@hub.example",
    ],
)
def test_no_password_in_a_complaint(text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        Registry.parse(text)
    assert "hunter2" not in str(refusal.value)


def test_no_password_in_a_repr() -> None:
    assert "hunter2" not in repr(Registry.parse("docker.io=https://user:hunter2@hub.example"))


def test_what_is_configured_replaces_what_is_built_in() -> None:
    mirror = Registry.parse("registry-1.docker.io=http://10.0.0.1:5000")
    known = known_registries([mirror])
    assert known["docker.io"] == (mirror,)
    assert known["ghcr.io"] == (Registry("ghcr.io", "https://ghcr.io"),)
    cache = Registry.parse("docker.io=http://10.0.0.2:5000")
    assert known_registries([cache, Registry("lab", "http://lab"), mirror])["docker.io"] == (cache, mirror)


def test_the_built_in_list_is_in_canonical_form() -> None:
    for registry in PUBLIC_REGISTRIES:
        assert Registry.parse(f"{registry.name}={registry.url}") == registry
