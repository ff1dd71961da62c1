"""The file of credentials: who may keep it where, which entry counts for what, and that no message shows a secret."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from mirror.errors import ConfigError
from mirror.sources.upstream.credentials import AuthFile, AuthPath, IdentityToken, Password, with_hosts
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
    file.write_text(json.dumps({"auths": auths, "HttpHeaders": {}}))
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
    for entry in (auth(f"user:{SECRET}"), {"username": "user", "password": SECRET}):
        read = AuthPath(written(file, **{key: entry})).read()
        assert read.hosts == [host]
        assert read.find(host, "library/nginx") == Password("user", SECRET)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no JSON of the form"),
        (f"auths: {SECRET}", "no JSON of the form"),
        ("[" * 100_000, "no JSON of the form"),
        ("[]", "no JSON of the form"),
        ('{"auths": []}', "no JSON of the form"),
        (json.dumps({"auths": {"ghcr.io/Team!": auth(f"user:{SECRET}")}}), "the beginning of a repository's path"),
        (json.dumps({"auths": {"a b": auth(f"user:{SECRET}")}}), "a host with an optional port"),
        (json.dumps({"auths": {"ghcr.io": {}}}), "a credential program"),
        (json.dumps({"auths": {"ghcr.io": SECRET}}), "a credential program"),
        (json.dumps({"auths": {"ghcr.io": {"auth": SECRET}}}), "has no auth"),
        (json.dumps({"auths": {"ghcr.io": {"identitytoken": 5}}}), "has no auth"),
        (json.dumps({"credsStore": "../bin/sh"}), "no credential program"),
        (json.dumps({"credsStore": ["pass"]}), "no credential program"),
        (json.dumps({"credHelpers": {"ghcr.io": SECRET}}), "no credential program"),
        (json.dumps({"credHelpers": ["ghcr.io"]}), "credHelpers"),
        (json.dumps({"ghcr.io": {"password": SECRET}}), "no JSON of the form"),
        (json.dumps({"auths": {"ghcr.io": auth("hunter2")}}), "has no auth"),
        (json.dumps({"auths": {"ghcr.io": {"username": "a:b", "password": SECRET}}}), "has no auth"),
        (json.dumps({"auths": {"ghcr.io": {"username": "a", "password": 5}}}), "has no auth"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line_without_the_password(file: Path, text: str, complaint: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        AuthPath(file).read()
    message = str(refusal.value)
    assert message.startswith("upstream-auth: ")
    assert complaint in message
    assert "hunter2" not in message
    assert "\n" not in message


def test_only_its_owner_may_read_the_file_unless_its_folder_keeps_others_out(file: Path) -> None:
    written(file, **{"ghcr.io": auth(f"user:{SECRET}")}).chmod(0o640)
    with pytest.raises(ConfigError, match="can be read by others: run chmod 600"):
        AuthPath(file).read()
    assert AuthPath(file, guarded=True).read().hosts == ["ghcr.io"]


def test_a_file_that_is_not_there_or_too_large_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        AuthPath(tmp_path / "none").read()
    with pytest.raises(ConfigError, match="regular file"):
        AuthPath(Path("/dev/zero"), guarded=True).read()
    file.write_bytes(b" " * (1 << 21))
    with pytest.raises(ConfigError, match="at most"):
        AuthPath(file).read()


def parsed(**document: Any) -> AuthFile:
    return AuthFile.parse(json.dumps(document).encode(), "auth.json")


def test_the_most_exact_entry_that_fits_counts() -> None:
    keys = ["*.example.com", "r.example.com", "r.example.com/team", "r.example.com/team/app", "r?.example.com/other"]
    file = parsed(auths={key: auth(f"{number}:x") for number, key in enumerate(keys)})
    for host, path, number in (
        ("r.example.com", "team/app", 3),
        ("r.example.com", "team/app/part", 3),
        ("r.example.com", "team/application", 2),
        ("r.example.com", "teams", 1),
        ("r1.example.com", "other/x", 4),
        ("r1.example.com", "x", 0),
    ):
        assert file.find(host, path) == Password(str(number), "x"), (host, path)
    for stranger in ("example.com", "a.b.example.com", "r.example.com:5000", "r.example.org"):
        assert file.find(stranger, "team/app") is None
    assert file.hosts == ["r.example.com"]


def test_programs_are_for_their_hosts_or_for_all_that_the_file_has_no_credential_for() -> None:
    file = parsed(
        auths={"ghcr.io": auth("user:x"), "quay.io": {}, "lab": auth("user:x")},
        credHelpers={"1234.dkr.ecr.eu-west-1.amazonaws.com": "ecr-login", "lab": "pass"},
        credsStore="secretservice",
    )
    assert file.find("ghcr.io", "a") == Password("user", "x")
    assert file.find("quay.io", "a") == file.find("docker.io", "a") == "secretservice"
    assert file.find("1234.dkr.ecr.eu-west-1.amazonaws.com", "a") == "ecr-login"
    assert file.find("lab", "a") == "pass"
    assert set(file.hosts) == {"ghcr.io", "quay.io", "lab", "1234.dkr.ecr.eu-west-1.amazonaws.com"}


def test_identity_tokens_and_kubernetes_older_form() -> None:
    file = parsed(
        auths={
            "a.azurecr.io": auth("00000000-0000-0000-0000-000000000000:t"),
            "docker.io": {"auth": "", "identitytoken": "t"},
        }
    )
    assert file.find("a.azurecr.io", "x") == file.find("docker.io", "x") == IdentityToken("t")
    older = AuthFile.parse(json.dumps({"https://index.docker.io/v1/": auth("user:x")}).encode(), ".dockercfg")
    assert older.find("docker.io", "x") == Password("user", "x")
    assert "x" not in repr(older.entries[0].credential)


def test_a_host_that_is_named_only_here_is_asked_by_https() -> None:
    configured = [Registry("docker.io", "https://harbor.example/v2/hub"), Registry("lab", "http://10.0.0.5:5000")]
    keys = ["docker.io", "harbor.example", "10.0.0.5:5000", "lab", "ghcr.io", "registry.example:5000", "*.example"]
    file = parsed(auths={key: auth("user:x") for key in keys})
    assert with_hosts(configured, file) == (
        *configured,
        Registry("registry.example:5000", "https://registry.example:5000"),
    )


def test_two_passwords_for_one_registry_are_refused_without_showing_one() -> None:
    with pytest.raises(ConfigError) as refusal:
        with_hosts([Registry("lab", "https://lab", "user", SECRET)], parsed(auths={"lab": auth("user:hunter2")}))
    assert "leave one of them out" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)
