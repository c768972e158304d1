"""The services: ingest takes events in, the rater prices them, the invoicer bills them."""
