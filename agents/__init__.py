"""Faust agents, one file per step, and what they decide and do."""
