"""What a usual window may cost: two completions, one embedding call, and so many tokens of prompt."""

import pytest

from benchmarks.extraction import MOST_TOKENS, OWN_EXAMPLES, faults_of, measure, records_of
from schemas.tokens import estimate_tokens


@pytest.mark.parametrize("size", MOST_TOKENS)
async def test_a_usual_window_keeps_the_limits_of_calls_and_tokens(size: int) -> None:
    costs = await measure(records_of(OWN_EXAMPLES), size, estimate_tokens)
    assert costs
    assert sum(cost.facts for cost in costs) > 0
    assert faults_of(size, costs) == []
