"""Ingest: takes events in over HTTP and answers only when Kafka holds them."""
