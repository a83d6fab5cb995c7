"""Token counts: tiktoken where its vocabulary can be had, else a conservative estimate."""

import threading
from collections.abc import Callable
from typing import Final

TokenCounter = Callable[[str], int]

ENCODING_NAME: Final = "o200k_base"
# tiktoken downloads its vocabulary on first use and sets no time limit of its own.
VOCABULARY_TIMEOUT_S: Final = 8.0
# tiktoken's pattern needs a stack as deep as a run of blanks is long, and ends the process where that overflows.
MAX_ENCODED_CHARACTERS: Final = 10_000


def estimate_tokens(text: str) -> int:
    """Never below what o200k_base counts on usual text: a token for 3 ASCII characters, one for any other.

    Fixed for ever: the borders of split texts, and with them the keys of their pieces, are drawn by it.
    """
    if text.isascii():
        return -(-len(text) // 3)
    ascii_characters = len(text.encode("ascii", "ignore"))
    return -(-ascii_characters // 3) + len(text) - ascii_characters


def slice_counter(count: TokenCounter) -> TokenCounter:
    """A counter that shows `count` slices of a long text; a token that lies across a border counts twice."""

    def count_slices(text: str) -> int:
        starts = range(0, len(text), MAX_ENCODED_CHARACTERS)
        return sum(count(text[start : start + MAX_ENCODED_CHARACTERS]) for start in starts)

    return count_slices


def token_counter(kind: str, warn: Callable[[str], None]) -> TokenCounter:
    """`estimate`, or `auto` and `tiktoken`: tiktoken if its vocabulary comes in a few seconds, one warning if not."""
    if kind == "estimate":
        return estimate_tokens
    found: list[TokenCounter] = []
    failure: list[str] = []

    def load() -> None:
        import tiktoken

        try:
            encoding = tiktoken.get_encoding(ENCODING_NAME)
        # Whatever the download raises (requests' errors, a proxy's, a cache folder's), the estimate serves.
        except (OSError, ValueError) as error:
            failure.append(type(error).__name__)
            return
        found.append(slice_counter(lambda text: len(encoding.encode_ordinary(text))))

    thread = threading.Thread(target=load, name="tiktoken-vocabulary", daemon=True)
    thread.start()
    thread.join(VOCABULARY_TIMEOUT_S)
    if found:
        return found[0]
    reason = failure[0] if failure else f"no answer in {VOCABULARY_TIMEOUT_S:g} s"
    warn(f"tiktoken's vocabulary could not be had ({reason}); tokens are estimated, on the high side")
    return estimate_tokens
