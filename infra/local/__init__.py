"""The embedded stack: real Postgres, real Kafka and the Stripe sandbox, without Docker."""
