"""How gossip with homes, and a DHT without, grow to thousands of nodes: by simulation, and on paper."""
