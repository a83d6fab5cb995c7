"""Token counts of what is read again and again."""

from functools import lru_cache
from typing import Final

from schemas.tokens import TokenCounter, estimate_tokens

MAX_TEXTS: Final = 65_536
# A longer text is counted each time, so that what is kept stays below a few dozen megabytes.
MAX_CHARACTERS: Final = 400


def remembered(count: TokenCounter, max_texts: int = MAX_TEXTS) -> TokenCounter:
    """The same counter with a memory; the estimate has none, for it is quicker than to look something up."""
    if count is estimate_tokens:
        return count
    known = lru_cache(max_texts)(count)

    def look_up(text: str) -> int:
        return known(text) if len(text) <= MAX_CHARACTERS else count(text)

    return look_up
