"""What of the outbox goes to which endpoint: attempted, tried again, given up, kept for a while."""
