"""Pins: images that a cluster keeps whatever happens, and whether it has all of them.

Members tell each other what is pinned by gossip, as small records of which the newest counts (`records`, `book`,
`files`); `pins` takes orders, `following` what settings and patterns say. Which members keep an image follows from its
digest and from who has settled (`placement`, `goals`), so nobody has to be told. Each member looks again and again
what it is to keep (`upkeep`, `keeper`), knows what an image consists of (`composition`), fetches what lacks behind what
clients wait for (`fetching`), and holds fast what it has.

`inventory` finds out who holds what, `overview` shows it, `verify` says whether a line may be cut, `orders` is what
members have each other do. `stack` puts all together.
"""
