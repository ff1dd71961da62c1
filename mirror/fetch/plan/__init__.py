"""The plan of one fetch: which source sends which bytes next. Pure: told outcomes and the time, asked for flights.

A flight is one request to one source. Missing bytes are asked for piece by piece, in order, within a window:

- A holder sends them: the one that is expected to be done first. A holder that already serves another member says that
  it is busy; then, and where nobody holds the content, each piece is asked of its home.
- A holder that the node leaves alone for some seconds is the last resort: it is asked if nobody else can be.
- This node's own pieces, and those that others ask of it as their home, come from a holder or from upstream. Such a
  flight never waits for another node's flight, so no two nodes can wait for each other.
- A piece that is late compared with others is asked of one more source, and the first answer wins. A home that fails is
  followed by the next one on the ring, and all homes by upstream itself.

Where this node is the only home, upstream sends one run from the first missing byte to the next one that is not
missing, so that a registry sees one request a blob.

`plan` cuts what is missing into flights; `chooser` picks the source of each; `candidates` knows who may be asked, and
`upstream_state` whether upstream may; `progress` finds flights that are late; `provenance` remembers who sent what.
"""

from .flight import EARLIER, Flight, Segment
from .plan import Opening, Plan
from .provenance import Provenance

__all__ = ["EARLIER", "Flight", "Opening", "Plan", "Provenance", "Segment"]
