"""What a node knows of its cluster: the homes of pieces, and what members deliver. Pure, or nearly."""
