"""Whether the kernel encrypts: then files leave by sendfile."""

import socket

import pytest

from mirror.app.tls import kernel_encrypts


class Kernel:
    """A socket of a kernel that answers in its way."""

    def __init__(self, answer: bytes | OSError) -> None:
        self._answer = answer

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (282, 1)
        if isinstance(self._answer, OSError):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    ("answer", "encrypts"), [(b"\x04\x03\x33\x00", True), (b"", False), (OSError(92, "no such option"), False)]
)
def test_the_kernel_says_whether_it_encrypts(answer: bytes | OSError, encrypts: bool) -> None:
    assert kernel_encrypts(Kernel(answer)) is encrypts  # type: ignore[arg-type]


def test_an_ordinary_connection_is_not_encrypted_by_the_kernel() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert not kernel_encrypts(one)
