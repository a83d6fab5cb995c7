"""The two ports of extraction: what turns conversations into memory, and what turns texts into vectors."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.conversation import Message
from schemas.memory import Extraction, ExtractorIdentity, MemoryUpdate, Profile, Usage
from schemas.profile_schema import ProfilePolicy


class Extractor(Protocol):
    """Reads a conversation, then merges what it says into a profile.

    Both calls raise RetryLater (and its EndpointRefused) when the endpoint is away, ContextTooLong when
    the conversation must be split, and ContentRejected when it must be bisected.
    """

    def identity(self, policy: ProfilePolicy) -> ExtractorIdentity:
        """What a change is signed with; `prompt_hash` covers the policy, too."""

    async def extract(self, messages: Sequence[Message], profile: Profile, policy: ProfilePolicy) -> Extraction:
        """What the user says in `messages`, which are in the order of the conversation.

        No message gives an empty extraction without a call. Of `profile` only the names of the slots are
        used, so that the same things are called the same; the result stays valid when the profile changes.
        """

    async def merge(self, extraction: Extraction, profile: Profile, policy: ProfilePolicy) -> MemoryUpdate:
        """The changes that bring `profile` up to date; a model decides only on slots holding something else.

        Embeds what is not embedded yet, beside that call. To merge again on a newer profile, pass the
        returned `MemoryUpdate.extraction`, which holds the embeddings, so that nothing is embedded twice.
        """

    async def close(self) -> None:
        """Close the connections; the extractor cannot be used afterwards."""


class Embedder(Protocol):
    """Turns texts into vectors of one model."""

    @property
    def dimension(self) -> int: ...

    async def embed(self, texts: Sequence[str], *, are_questions: bool = False) -> tuple[NDArray[np.float32], Usage]:
        """One batched call: (n_texts, dimension) float32 in the order of `texts`, unit length.

        `are_questions` are texts to search by, which some models embed otherwise than what is searched.
        A text in which the model knows no word has a row of zeros. Raises as Extractor's calls do.
        """

    async def close(self) -> None:
        """Close the connections."""
