"""A pull by the interface through which the kubelet pulls (CRI), of an image that the runtime does not get.

It takes the extra `skvaller[containerd]`.

Source: Kubernetes, staging/src/k8s.io/cri-api/pkg/apis/runtime/v1/api.proto.
"""

import socket
from typing import Final

from ..grpc_call import READ_BYTES, Call, CallFailed
from ..protobuf import encoded

_PULL: Final = "runtime.v1.ImageService/PullImage"
_ANSWER_BYTES_MAX: Final = 64 * 1024
"""Bounds the answer, which names the image that was pulled."""


class CriPull:
    """A pull that has begun.

    Args:
        path: of the runtime's socket.
        image: its name.
        timeout_s: time after which the runtime gives up.

    Raises:
        OSError: nobody answers at the socket.
    """

    def __init__(self, path: str, image: str, timeout_s: float) -> None:
        # PullImageRequest{image: ImageSpec{image: …}}
        request = encoded(1, encoded(1, image))
        self._call = Call(_PULL, request, timeout_s=timeout_s, message_bytes_max=_ANSWER_BYTES_MAX)
        self._said: str | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(path)
            self._socket.sendall(self._call.to_send())
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)

    def ended(self) -> str | None:
        """What the runtime said when it ended; None while it goes on."""
        while self._said is None:
            try:
                self._call.receive(self._socket.recv(READ_BYTES))
                self._socket.sendall(self._call.to_send())
            except BlockingIOError:
                return None
            except (OSError, CallFailed) as error:
                self._said = str(error)
            else:
                self._said = "it has pulled" if self._call.is_over else None
        return self._said

    def stop(self) -> None:
        """End it: the runtime gives up a pull whose client leaves."""
        self._socket.close()
