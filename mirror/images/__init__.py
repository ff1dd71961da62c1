"""What images mean: tags, manifests, and what of them this node holds."""
