"""What is on the log but not rated: waiting events, dead letters, and conflicting versions."""
