"""Documents for programs, made from the code that reads: HTTP, topics, and event types."""
