"""Kafka: topics, clients, the buffer table, windows, transactions and the relay."""
