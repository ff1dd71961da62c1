"""Other members as sources."""
