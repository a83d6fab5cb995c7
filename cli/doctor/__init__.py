"""`memostream doctor`: small checks that look and never touch, and pure judgements on what they saw."""
