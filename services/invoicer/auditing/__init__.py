"""The audit trail as others see it: listed, and verified by its chain."""
