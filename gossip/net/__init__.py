"""The core on asyncio: sockets, the clock, files, and what an application calls."""
