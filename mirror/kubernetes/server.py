"""The API server, asked as the pod's own service account.

Source: Kubernetes, "Accessing the Kubernetes API from a Pod".
"""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigError

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet puts the account's token, the server's authority and the namespace."""
_TIMEOUT_S: Final = 10
"""Bounds one question, s. A healthy server answers within milliseconds; whoever asks here asks again."""
_ANSWER_MAX_BYTES: Final = 16 * 1024 * 1024
"""Bounds an answer, in bytes: a pod in a list has some 8 KiB, and a large cluster 1,000 nodes."""


class ServerFailed(Exception):
    """The API server cannot be reached, or refused; the message says which."""


@dataclass(frozen=True, slots=True)
class Server:
    """An API server.

    Args:
        url: without a slash at its end.
        account: folder of the service account's token, authority and namespace.
    """

    url: str
    account: Path = ACCOUNT

    @classmethod
    def of_pod(cls, environment: Mapping[str, str], account: Path = ACCOUNT) -> "Server":
        """The one whose pod this is.

        Raises:
            ConfigError: this is no pod, or it has no account's token.
        """
        host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not (account / "token").exists():
            raise ConfigError("this is no pod with a service account's token; the chart's hooks run this command")
        return cls(f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}", account)

    @property
    def namespace(self) -> str:
        """That of the pod."""
        return (self.account / "namespace").read_text().strip()

    def get(self, path: str) -> Any:
        """Ask for an object or a list.

        Raises:
            ServerFailed: it did not answer with one.
        """
        token = (self.account / "token").read_text().strip()
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {token}"})
        context = None
        if self.url.startswith("https:"):
            context = ssl.create_default_context(cafile=str(self.account / "ca.crt"))
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=context) as answer:
                return json.loads(answer.read(_ANSWER_MAX_BYTES))
        except urllib.error.HTTPError as error:
            raise ServerFailed(f"the API server answers {error.code} to {path}") from None
        except (OSError, ValueError) as error:  # ValueError: no JSON, or cut off
            raise ServerFailed(f"the API server does not answer: {error}") from None
