"""Schemathesis over the gateway's own OpenAPI document, with access on: no 5xx, no violation, no endless answer."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.running_gateway import ROOT_TOKEN, RunningSystem

ROOT = Path(__file__).parents[3]
SUPPORT = ROOT / "tests" / "support"
LONGEST_ANSWER_S = "30"
EXAMPLES = "3"
LEFT_OUT = (
    # `/users/profile/import/{user_id}` with PUT is `/users/profile/{user_id}/{profile_id}`: Memobase's paths overlap.
    "unsupported_method",
    "allow_header_conformance",
    # A query may be well-formed and still mean nothing: errno 400.
    "positive_data_acceptance",
)


def test_the_gateway_keeps_to_its_document_whatever_is_sent(system: RunningSystem, tmp_path: Path) -> None:
    """Its cases are the same in every run. `ignored_auth` is among the checks: no route answers without a token."""
    command = [str(Path(sys.executable).parent / "st"), "--config-file", str(SUPPORT / "schemathesis.toml")]
    command += ["run", f"{system.url}/openapi.json", "--header", f"Authorization: Bearer {ROOT_TOKEN}"]
    command += ["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", EXAMPLES, "--no-shrink"]
    command += ["--exclude-checks", ",".join(LEFT_OUT), "--max-response-time", LONGEST_ANSWER_S, "--workers", "1"]
    command += ["--generation-deterministic", "--continue-on-failure", "--no-color"]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "request.failed" not in system.gateway.output()
