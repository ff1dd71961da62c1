"""Names of images: every spelling of one image is the same reference, and nothing else is a name."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.errors import DigestInvalid, NameInvalid
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference, Repository, parse_image, parse_registry

HEX = "a" * 64


@pytest.mark.parametrize(
    ("text", "registry"),
    [
        ("docker.io", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("Registry-1.Docker.IO", "docker.io"),
        ("localhost:5000", "localhost:5000"),
        ("GHCR.io", "ghcr.io"),
        ("10.0.0.1:5000", "10.0.0.1:5000"),
        ("[fd00::1]:5000", "[fd00::1]:5000"),
        ("r.example:65535", "r.example:65535"),
    ],
)
def test_registries_are_lower_case_and_docker_hub_has_one_name(text: str, registry: str) -> None:
    assert parse_registry(text) == registry


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host:",
        "host:0",
        "host:65536",
        "host:5000:5000",
        "user@host",
        "user:password@host",
        "http://host",
        "host/path",
        "host?x",
        "host#x",
        "host%2f",
        "host name",
        "host\r\nEvil: yes",
        "host\x00",
        "-host",
        "host-",
        ".host",
        "host..example",
        "hôst",
        "host:\u0665\u0660",
        "[fd00::1",
        "a" * 64,
        "a." * 200 + "a",
    ],
)
def test_what_is_no_host_is_no_registry(text: str) -> None:
    with pytest.raises(NameInvalid):
        parse_registry(text)


@pytest.mark.parametrize(
    ("name", "ns", "canonical"),
    [
        # by ns, as containerd asks
        ("library/nginx", "docker.io", "docker.io/library/nginx"),
        ("nginx", "docker.io", "docker.io/library/nginx"),
        ("nginx", "index.docker.io", "docker.io/library/nginx"),
        ("grafana/loki", "docker.io", "docker.io/grafana/loki"),
        ("app", "ghcr.io", "ghcr.io/app"),
        ("a/b/c", "registry.example:5000", "registry.example:5000/a/b/c"),
        ("quay.io/a", "ghcr.io", "ghcr.io/quay.io/a"),
        # both, as BuildKit asks a mirror with a prefix
        ("docker.io/library/nginx", "docker.io", "docker.io/library/nginx"),
        ("docker.io/nginx", "index.docker.io", "docker.io/library/nginx"),
        ("registry-1.docker.io/nginx", "docker.io", "docker.io/library/nginx"),
        ("ghcr.io/app", "ghcr.io", "ghcr.io/app"),
        ("registry.example:5000/a/b", "registry.example:5000", "registry.example:5000/a/b"),
        ("registry.example_5000/a/b", "registry.example:5000", "registry.example:5000/a/b"),
        ("lab_5000/a", "lab:5000", "lab:5000/a"),
        ("registry.example/a", "registry.example:5000", "registry.example:5000/registry.example/a"),
        ("localhost/a", "localhost", "localhost/a"),
        ("lab/a", "lab", "lab/lab/a"),
        ("a.b_c/d", "ghcr.io", "ghcr.io/a.b_c/d"),
        # by path, as podman, CRI-O and skopeo ask
        ("docker.io/library/nginx", None, "docker.io/library/nginx"),
        ("docker.io/nginx", None, "docker.io/library/nginx"),
        ("registry-1.docker.io/nginx", None, "docker.io/library/nginx"),
        ("ghcr.io/a/b", None, "ghcr.io/a/b"),
        ("localhost/a", None, "localhost/a"),
        ("localhost:5000/a", None, "localhost:5000/a"),
        ("registry.example:5000/a", None, "registry.example:5000/a"),
        ("registry.example_5000/a", None, "registry.example:5000/a"),
        ("localhost_5000/a", None, "localhost:5000/a"),
        # by neither, as Docker asks
        ("library/nginx", None, "docker.io/library/nginx"),
        ("nginx", None, "docker.io/library/nginx"),
        ("grafana/loki", None, "docker.io/grafana/loki"),
    ],
)
def test_a_registry_is_named_in_three_ways(name: str, ns: str | None, canonical: str) -> None:
    assert str(Repository.parse(name, ns)) == canonical


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "/nginx",
        "nginx/",
        "a//b",
        "..",
        "a/../b",
        "../etc/passwd",
        "Nginx",
        "a b",
        "a\n",
        "a%2fb",
        "a\x00",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "a/b:tag",
        "docker.io/",
        "docker.io",
        "user@docker.io/a",
        "docker.io:0/a",
        "a/" * 128 + "a",
        "ä",
    ],
)
def test_what_is_not_in_the_grammar_is_no_repository(name: str) -> None:
    if name == "docker.io":  # without a slash it can only be a repository of Docker Hub
        assert str(Repository.parse(name)) == "docker.io/library/docker.io"
        return
    with pytest.raises(NameInvalid):
        Repository.parse(name)


def test_ns_is_checked_as_well() -> None:
    with pytest.raises(NameInvalid):
        Repository.parse("nginx", "user:password@docker.io")
    with pytest.raises(NameInvalid):
        Repository.parse("nginx", "")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("docker.io/library/nginx:1.27", "docker.io/library/nginx:1.27"),
        ("ghcr.io/a/b", "ghcr.io/a/b:latest"),
        ("localhost:5000/a", "localhost:5000/a:latest"),
        ("localhost:5000/a:_x.Y-z", "localhost:5000/a:_x.Y-z"),
        ("a:" + "t" * 128, "docker.io/library/a:" + "t" * 128),
    ],
)
def test_people_may_leave_out_what_is_usual(text: str, canonical: str) -> None:
    reference = Reference.parse(text)
    assert str(reference) == canonical
    assert Reference.parse(canonical) == reference


@pytest.mark.parametrize(
    "text", ["", ":", "a:", "a:.b", "a:-b", "a:b c", "a:b\n", "a:" + "t" * 129, f"a@sha256:{HEX}", f"a:b@sha256:{HEX}"]
)
def test_what_is_no_image_name_is_no_reference(text: str) -> None:
    with pytest.raises(NameInvalid):
        Reference.parse(text)


def test_spellings_of_one_image_have_one_key_and_other_images_another() -> None:
    spellings = ["nginx:1", "library/nginx:1", "docker.io/nginx:1", "index.docker.io/library/nginx:1"]
    assert len({Reference.parse(text).key for text in spellings}) == 1
    others = ["nginx:1", "nginx:2", "nginx2:1", "quay.io/library/nginx:1"]
    assert len({Reference.parse(text).key for text in others}) == len(others)
    assert all(len(Reference.parse(text).key) == 32 for text in others)


@pytest.mark.parametrize("text", [f"nginx@sha256:{HEX}", f"nginx:1.27@sha256:{HEX}", f"docker.io/nginx@sha256:{HEX}"])
def test_an_image_by_digest_is_its_repository_and_digest(text: str) -> None:
    assert parse_image(text) == (Repository("docker.io", "library/nginx"), Digest(HEX))


def test_a_port_is_no_tag_of_an_image_by_digest() -> None:
    assert parse_image(f"localhost:5000/a@sha256:{HEX}") == (Repository("localhost:5000", "a"), Digest(HEX))


def test_an_image_by_tag_is_a_reference() -> None:
    assert parse_image("nginx:1.27") == Reference.parse("nginx:1.27")


NAMELIKE = st.text(alphabet="abz019.:/_-@[]%A \n\x00é\u0663", max_size=60)


@given(NAMELIKE | st.text(max_size=60), st.none() | NAMELIKE)
@example("localhost_", None)
@example("[::1]:5000/a", None)
@example("a.b:99999/a", None)
@example("a._1/a", None)
def test_junk_is_a_repository_that_reads_back_or_is_refused(name: str, ns: str | None) -> None:
    try:
        repository = Repository.parse(name, ns)
    except NameInvalid:
        return
    assert Repository.parse(repository.path, repository.registry) == repository
    assert ".." not in repository.path.split("/")
    assert not set(repository.path) & set("%\\\x00 \n@:")


@given(NAMELIKE | st.text(max_size=60) | st.from_regex(r"\A[a-z]{1,3}(:[a-z]{1,2})?@sha256:[0-9a-f]{63,65}\Z"))
def test_junk_is_an_image_or_is_refused(text: str) -> None:
    try:
        image = parse_image(text)
    except (NameInvalid, DigestInvalid):
        return
    if isinstance(image, Reference):
        assert Reference.parse(str(image)) == image
    else:
        assert parse_image(f"{image[0]}@{image[1]}") == image
