"""What Schemathesis looks at besides statuses and schemas: on Memobase's routes an error comes with status 200."""

from typing import Any, Final

import schemathesis

# Of a system that works: nothing is defective, nothing is away.
NEVER: Final = {500, 502, 503}


@schemathesis.check
def no_server_error_in_the_envelope(_context: Any, response: Any, _case: Any) -> None:
    if "application/json" not in response.headers.get("content-type", [""])[0]:
        return
    body = response.json()
    errno = body.get("errno", 0) if isinstance(body, dict) else 0
    assert errno not in NEVER, f"errno {errno}"
