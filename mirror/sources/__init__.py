"""Sources of bytes that this node does not hold: other members (`peers`) and registries (`upstream`)."""
