"""What is done with each event of a node: it is counted, logged, acted on, and handed to those who listen."""

from ..core.events import Answered, Event, KeysChanged
from .counters import Counters
from .event_log import EventLog
from .keys import KeyFile
from .pings import Pings
from .subscriptions import Subscription


class Announcer:
    """The events of one node.

    Args:
        name: of the node.
        counters: of its events.
        key_file: where keys are kept when they change; None if they are not.
    """

    def __init__(self, name: str, counters: Counters, key_file: KeyFile | None) -> None:
        self._counters = counters
        self._log = EventLog(name, counters)
        self._key_file = key_file
        self._subscriptions: list[Subscription] = []
        self.pings = Pings()

    def subscribe(self) -> Subscription:
        """A new listener; it hears what happens from now on."""
        subscription = Subscription()
        self._subscriptions.append(subscription)
        return subscription

    def announce(self, event: Event) -> None:
        """Something happened."""
        self._counters.note_event(event)
        self._log.note(event)
        if isinstance(event, Answered):
            self.pings.note(event)
        elif isinstance(event, KeysChanged) and self._key_file is not None:
            self._key_file.save()
        self._subscriptions = [listener for listener in self._subscriptions if not listener.closed]
        for subscription in self._subscriptions:
            subscription.put(event)

    def close(self) -> None:
        """Nothing happens any more."""
        for subscription in self._subscriptions:
            subscription.close()
