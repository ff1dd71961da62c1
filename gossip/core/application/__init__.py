"""What the protocol does for its application, and asks of it."""
