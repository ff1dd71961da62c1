"""Passwords of registries: who may keep them where, to which host they go, and that no message shows them."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from mirror.errors import ConfigError
from mirror.sources.upstream.passwords import read_passwords, with_passwords
from mirror.sources.upstream.registries import Registry

SECRET = "hunter2:+/"


def auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "auth.json"
    path.touch(mode=0o600)
    return path


def written(file: Path, **auths: Any) -> Path:
    file.write_text(json.dumps({"auths": auths, "credsStore": "desktop", "HttpHeaders": {}}))
    return file


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("registry.example.com", "registry.example.com"),
        ("Registry.example.com:5000", "registry.example.com:5000"),
        ("https://registry.example.com/v2/", "registry.example.com"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("http://10.0.0.5:5000", "10.0.0.5:5000"),
    ],
)
def test_hosts_are_read_as_docker_and_podman_write_them(file: Path, key: str, host: str) -> None:
    written(file, **{key: auth(f"user:{SECRET}")})
    assert read_passwords(file) == {host: ("user", SECRET)}
    written(file, **{key: {"username": "user", "password": SECRET}})
    assert read_passwords(file) == {host: ("user", SECRET)}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no JSON of the form"),
        (f"auths: {SECRET}", "no JSON of the form"),
        ("[" * 100_000, "no JSON of the form"),
        ("[]", "no JSON of the form"),
        ('{"auths": []}', "no JSON of the form"),
        (json.dumps({"auths": {"ghcr.io/team": auth(f"user:{SECRET}")}}), "passwords of single repositories"),
        (json.dumps({"auths": {"a b": auth(f"user:{SECRET}")}}), "a host with an optional port"),
        (json.dumps({"auths": {"ghcr.io": {}}}), "a credential helper"),
        (json.dumps({"auths": {"ghcr.io": SECRET}}), "a credential helper"),
        (json.dumps({"auths": {"ghcr.io": {"auth": SECRET}}}), "has no auth"),
        (json.dumps({"auths": {"ghcr.io": {"identitytoken": SECRET}}}), "has no auth"),
        (json.dumps({"auths": {"ghcr.io": auth("hunter2")}}), "has no auth"),
        (json.dumps({"auths": {"ghcr.io": {"username": "a:b", "password": SECRET}}}), "has no auth"),
        (json.dumps({"auths": {"ghcr.io": {"username": "a", "password": 5}}}), "has no auth"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line_without_the_password(file: Path, text: str, complaint: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        read_passwords(file)
    message = str(refusal.value)
    assert message.startswith("upstream-auth: ")
    assert complaint in message
    assert "hunter2" not in message
    assert "\n" not in message


def test_only_its_owner_may_read_the_file_unless_its_folder_keeps_others_out(file: Path) -> None:
    written(file, **{"ghcr.io": auth(f"user:{SECRET}")}).chmod(0o640)
    with pytest.raises(ConfigError, match="can be read by others: run chmod 600"):
        read_passwords(file)
    assert read_passwords(file, guarded=True) == {"ghcr.io": ("user", SECRET)}


def test_a_file_that_is_not_there_or_too_large_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_passwords(tmp_path / "none")
    with pytest.raises(ConfigError, match="regular file"):
        read_passwords(Path("/dev/zero"), guarded=True)
    file.write_bytes(b" " * (1 << 21))
    with pytest.raises(ConfigError, match="at most"):
        read_passwords(file)


def test_a_password_goes_to_the_host_that_is_asked_and_to_no_other() -> None:
    configured = [Registry("docker.io", "https://harbor.example/v2/hub"), Registry("lab", "http://10.0.0.5:5000")]
    passwords = {
        "docker.io": ("hub", "a"), "harbor.example": ("harbor", "b"), "10.0.0.5:5000": ("lab", "c"),
        "lab": ("nobody", "d"), "ghcr.io": ("ghcr", "e"),
    }  # fmt: skip
    known = {registry.name: registry for registry in with_passwords(configured, passwords)}
    assert known["docker.io"] == Registry("docker.io", "https://harbor.example/v2/hub", "harbor", "b")
    assert known["lab"].username == "lab"
    assert known["ghcr.io"] == Registry("ghcr.io", "https://ghcr.io", "ghcr", "e")


def test_docker_hubs_password_is_for_docker_hub() -> None:
    (hub,) = with_passwords([], {"docker.io": ("user", SECRET)})
    assert hub == Registry("docker.io", "https://registry-1.docker.io", "user", SECRET)


def test_a_registry_that_is_named_only_here_is_asked_by_https() -> None:
    given = with_passwords([], {"registry.example:5000": ("user", SECRET)})
    assert given == (Registry("registry.example:5000", "https://registry.example:5000", "user", SECRET),)


def test_two_passwords_for_one_registry_are_refused_without_showing_one() -> None:
    with pytest.raises(ConfigError) as refusal:
        with_passwords([Registry("lab", "https://lab", "user", SECRET)], {"lab": ("user", "hunter2")})
    assert "leave one of them out" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)
