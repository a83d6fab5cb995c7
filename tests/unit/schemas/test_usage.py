"""Sums of what calls came to, with which model did what."""

from schemas.memory import Usage


def test_sums_keep_what_each_model_did() -> None:
    chat = Usage(completions=1, prompt_tokens=100, completion_tokens=10, latency_ms=900).of_model("chat")
    vectors = Usage(embedding_calls=1, embedding_tokens=7, latency_ms=50).of_model("vectors")
    total = chat + vectors + chat
    assert total == Usage(2, 1, 200, 20, 0, 7, 1850)
    assert total.tokens == 227
    assert dict(total.models) == {
        "chat": Usage(completions=2, prompt_tokens=200, completion_tokens=20, latency_ms=1800),
        "vectors": Usage(embedding_calls=1, embedding_tokens=7, latency_ms=50),
    }


def test_what_was_spent_before_can_be_taken_off() -> None:
    before = Usage(completions=1, prompt_tokens=100).of_model("chat")
    spent = (before + Usage(embedding_calls=1, embedding_tokens=7).of_model("vectors")) - before
    assert spent == Usage(embedding_calls=1, embedding_tokens=7)
    assert dict(spent.models) == {"vectors": Usage(embedding_calls=1, embedding_tokens=7)}
    assert before - before == Usage()
