"""The `offline` provider: rules instead of a model, for a first look, tests and demos without keys."""
