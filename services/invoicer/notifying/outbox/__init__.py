"""What is told: notices, put into the outbox in the transaction of what they tell of."""
