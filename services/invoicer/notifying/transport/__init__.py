"""How one message gets to one receiver, by HTTP or as a letter, and what its answer means."""
