"""The invoicer: closes months, makes invoices, sends them to Stripe, reconciles the books."""
