"""Measurements of memostream on the machine that runs them: `python -m benchmarks`."""
