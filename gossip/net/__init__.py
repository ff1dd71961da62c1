"""asyncio shells around the core: sockets, the clock, and key files."""
