"""The `memostream` command."""
