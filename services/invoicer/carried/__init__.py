"""What was carried forward and waits: by customer and currency, by command and over HTTP."""
