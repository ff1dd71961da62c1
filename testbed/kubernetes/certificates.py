"""The certificates of a cluster: an authority, and whom it vouches for."""

import json
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Certificates:
    """An authority, and what it has issued.

    Args:
        folder: for the files.
        server: URL of the API server, for whoever gets a kubeconfig.
    """

    def __init__(self, folder: Path, server: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._server = server
        self._authority = trustme.CA(organization_name="testbed")
        self.authority = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.authority)
        self.accounts = folder / "accounts.key"
        """The key with which tokens of service accounts are signed."""
        key = rsa.generate_private_key(65537, 2048)
        pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self.accounts.write_bytes(key.private_bytes(*pem))

    def issue(self, name: str, *hosts: str, group: str | None = None) -> Identity:
        """Vouch for somebody.

        Args:
            name: a user's name, as the API server understands it.
            hosts: names and addresses of a server.
            group: of the user.
        """
        files = Identity(self._folder / f"{_plain(name)}.pem", self._folder / f"{_plain(name)}.key")
        if not files.key.exists():
            issued = self._authority.issue_cert(*(hosts or ("client",)), common_name=name, organization_name=group)
            for index, blob in enumerate(issued.cert_chain_pems):
                blob.write_to_path(files.certificate, append=index > 0)
            issued.private_key_pem.write_to_path(files.key)
        return files

    def kubeconfig(self, name: str, group: str | None = None) -> Path:
        """A file by which a program is a user at the API server."""
        user = self.issue(name, group=group)
        path = self._folder / f"{_plain(name)}.kubeconfig"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "clusters": [
                {"name": "it", "cluster": {"server": self._server, "certificate-authority": str(self.authority)}}
            ],
            "users": [
                {"name": "it", "user": {"client-certificate": str(user.certificate), "client-key": str(user.key)}}
            ],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        }
        path.write_text(json.dumps(content))  # which is YAML as well
        return path


def _plain(name: str) -> str:
    return name.replace(":", "-")
