"""Changes of this node's keyring, its own and those that other members order."""

from collections.abc import Callable

from ..errors import ConfigError
from ..events import Event, KeysChanged
from ..messages import KeyAction, KeyOrder, KeyReport
from .seal import Seal


class KeyChanges:
    """The keyring of one node, while it runs.

    Args:
        seal: uses the keys.
        emit: called with `KeysChanged`.
    """

    def __init__(self, seal: Seal, emit: Callable[[Event], None]) -> None:
        self._seal = seal
        self._emit = emit

    def change(self, action: KeyAction, key: bytes = b"") -> None:
        """Change this node's own keyring.

        Args:
            action: what to do.
            key: 32 bytes to install; the id, 4 bytes, to use or remove.

        Raises:
            ConfigError: the keyring refuses; the message says why.
        """
        before = tuple(self._seal.keyring)
        self._seal.change_keys(action, key)
        if tuple(self._seal.keyring) != before:
            self._emit(KeysChanged(self._seal.keyring.ids))

    def carry_out(self, order: KeyOrder) -> KeyReport:
        """Carry out another member's order. Returns the keyring after it, and why it was refused, if it was."""
        refusal = ""
        try:
            self.change(order.action, order.key)
        except ConfigError as error:
            refusal = str(error)
        return KeyReport(b"".join(self._seal.keyring.ids), refusal)
