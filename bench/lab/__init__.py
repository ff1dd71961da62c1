"""A cluster of hosts with limited links in network namespaces: how soon, and at what price, all have an image."""
