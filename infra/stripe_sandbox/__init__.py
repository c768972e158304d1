"""A stateful stand-in for the part of Stripe's API that Tallybook uses, kept on disk.

It is held to Stripe's own OpenAPI document by a contract test. The real Stripe is one
setting away: the key. How an operation is built up, from the outside in: `app` (HTTP),
`idempotency`, `operations` (the table of them), `params` (what each takes), `customers` and
`invoices` (what they do), `objects` (what they answer), `store` (where it is kept,
with `answers` for the idempotency keys and `outgoing` for the webhooks).
"""

API_VERSION = "2026-08-26.dahlia"
"""The version of Stripe's API whose shapes the answers have."""
