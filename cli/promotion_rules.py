"""Whether a shadow may be promoted: pure."""

from collections.abc import Sequence

from cli.shadow_progress import ShadowProgress
from schemas.errors import ConfigurationError, Conflict
from schemas.memory import ExtractorIdentity
from storage.shadows import Shadow


def check_made(shadow: Shadow) -> None:
    """Raise Conflict for a shadow whose making was cut short."""
    if shadow.state == "creating":
        raise Conflict(
            f"shadow {shadow.name} is not made yet: call `memostream replay run` with its range again, or discard it"
        )


def check_extractor(
    shadow: Shadow, configured: ExtractorIdentity, workers: Sequence[tuple[str, ExtractorIdentity | None]]
) -> None:
    """Raise ConfigurationError or Conflict unless live memory is extracted as the shadow was.

    Else what comes after the promotion would be extracted otherwise than all that came before.
    """
    if configured != shadow.extractor:
        raise ConfigurationError(
            f"shadow {shadow.name} was extracted by {shadow.extractor}, this configuration extracts by "
            f"{configured}: put the shadow's settings into the configuration of the live workers, restart them "
            "with it, and promote with that"
        )
    others = [
        f"{name} ({identity or 'an older memostream'})" for name, identity in workers if identity != shadow.extractor
    ]
    if others:
        raise Conflict(
            f"shadow {shadow.name} was extracted by {shadow.extractor}, and live workers extract otherwise: "
            f"{', '.join(others)}; restart them with this configuration first"
        )


def check_worked_for(shadow: Shadow, progress: ShadowProgress, open_users: int) -> None:
    """Raise Conflict where the shadow has something to do still, and nobody does it.

    What a buffer holds is not seen from here, so that needs a worker as long as anybody is to be promoted.
    """
    waits = progress.behind or (shadow.source == "chat-messages" and open_users)
    if progress.is_worked_for or not waits:
        return
    what = f"{progress.behind:,} records wait for it" if progress.behind else "what it has buffered waits"
    raise Conflict(
        f"no worker of shadow {shadow.name} runs, and {what}: start one with `memostream replay run --into shadow "
        f"--shadow {shadow.name} --execute`, and let it run until the promotion is done"
    )
