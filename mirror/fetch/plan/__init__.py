"""The plan of one fetch: which source brings which bytes next. Pure: told outcomes and the time, asked for flights.

Wanted bytes are brought piece by piece, in order, so many at once as the window allows:

- A holder brings them, the one that promises to be done first, as long as it is free. A holder that already serves
  somebody says that it is busy; then, and where nobody holds the content, each piece is asked of its home.
- This node's own pieces, and those that others ask of it as their home, it takes from a holder or from upstream. Such a
  request never waits for another node's flight, so that no two nodes wait for each other.
- A piece that is late, beside what the others take, is asked of one source more; who is first wins. A home that fails
  is followed by the next one of the ring, and all of them by upstream itself.

Where this node is the only home, upstream brings one run from the first byte that is missing to the next that is not,
so that a registry sees one request a blob.

`Sources` knows who may be asked, `Progress` which flights are late; `Plan` cuts what is missing into flights.
"""

from .flight import EARLIER, Flight, Row
from .plan import Plan

__all__ = ["EARLIER", "Flight", "Plan", "Row"]
