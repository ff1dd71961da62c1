"""Which image names of containerd's are tags; what the constructor accepts; and life without the extra."""

import subprocess
import sys

import pytest

from mirror.errors import ConfigError
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference
from mirror.stores.containerd import ContainerdStore
from mirror.stores.containerd.messages import Image
from mirror.stores.containerd.tags import reference_of, tags_of

ONE, TWO = Digest.of(b"one"), Digest.of(b"two")
CONTENT = {ONE, TWO}


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("docker.io/library/nginx:1.27", "docker.io/library/nginx:1.27"),
        ("docker.io/nginx:1.27", "docker.io/library/nginx:1.27"),
        ("index.docker.io/library/nginx:1.27", "docker.io/library/nginx:1.27"),
        ("registry.test:5000/a/b/c:v1", "registry.test:5000/a/b/c:v1"),
        ("localhost/made:1", "localhost/made:1"),
    ],
)
def test_a_name_that_states_registry_and_tag_is_one(name: str, reference: str) -> None:
    assert str(reference_of(name)) == reference


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nginx:1.27",
        "library/nginx:1.27",
        "docker.io/library/nginx",
        "registry.test:5000/nginx",
        f"docker.io/library/nginx@{ONE}",
        f"docker.io/library/nginx:1.27@{ONE}",
        str(ONE),
        f"import-2024-01-01@{ONE}",
        "docker.io/library/../etc:1",
        "docker.io/library/nginx:",
        "docker.io/library/nginx:a b",
        "docker.io/Library/nginx:1",
        "a.b/c:\n",
    ],
)
def test_other_names_are_none(name: str) -> None:
    assert reference_of(name) is None


def test_a_tag_without_its_manifest_does_not_count() -> None:
    images = [Image("a.test/x:1", str(ONE), 5.0), Image("a.test/y:1", str(TWO), 5.0), Image("a.test/z:1", "junk", 5.0)]
    assert set(tags_of(images, {ONE})) == {Reference.parse("a.test/x:1")}


def test_of_two_names_for_one_reference_the_later_counts() -> None:
    old, new = Image("docker.io/nginx:1", str(ONE), 5.0), Image("docker.io/library/nginx:1", str(TWO), 6.0)
    for images in ([old, new], [new, old]):
        (tag,) = tags_of(images, CONTENT).values()
        assert (tag.digest, tag.checked_unix_s, tag.authority) == (TWO, 6.0, "runtime")


@pytest.mark.parametrize("address", ["", "containerd.sock", "tcp://127.0.0.1:1", "unix://relative", "/" + "x" * 107])
def test_an_address_that_is_no_socket_path_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"containerd '.*' is not the absolute path"):
        ContainerdStore(address)


@pytest.mark.parametrize("namespace", ["", "a b", "a,topic==x", "-a", "x" * 77])
def test_a_namespace_that_containerd_would_not_take_is_refused(namespace: str) -> None:
    with pytest.raises(ConfigError, match="containerd-namespace"):
        ContainerdStore("/run/containerd/containerd.sock", namespace)


def test_without_the_extra_the_message_says_how_to_install_it() -> None:
    program = """
import sys
sys.modules["h2"] = None
import mirror.stores
from mirror.errors import ConfigError
try:
    import mirror.stores.containerd
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'skvaller[containerd]'" in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_stores_alone_import_no_http_2() -> None:
    program = "import sys, mirror.stores; print([name for name in sys.modules if name.startswith('h2')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
