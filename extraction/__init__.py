"""Conversations in, changes of a user's memory out; knows nothing of Kafka or Postgres."""
