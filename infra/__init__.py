"""What the services run on: the embedded stack, the Stripe sandbox, the migrations."""
