"""Commands as the shell sees them; what they do is imported when they run, so that `--help` is quick."""
