"""Which connection strings of Memobase's database are taken, and that none is ever quoted."""

import pytest

from schemas.errors import ConfigurationError
from storage.memobase_source import open_source, source_address


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("postgresql://u:p@db:5432/memobase", "postgresql+asyncpg://u:p@db:5432/memobase"),
        ("postgres://u:p@db/memobase", "postgresql+asyncpg://u:p@db/memobase"),
        ("postgresql+psycopg2://u@db/memobase", "postgresql+asyncpg://u@db/memobase"),
        ("postgresql://u@db/m?sslmode=require", "postgresql+asyncpg://u@db/m?ssl=require"),
        ("postgresql://u:a?sslmode=b@db/m", "postgresql+asyncpg://u:a?sslmode=b@db/m"),
    ],
)
def test_an_address_of_any_driver_of_postgres_is_taken(url: str, ours: str) -> None:
    assert source_address(url).get_secret_value() == ours


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "must be like postgresql://"),
        ("hunter2", "must be like postgresql://"),
        ("mysql://u:hunter2@db/memobase", "must be like postgresql://"),
        ("postgresql://u:hunter2@d b/memobase", "must be like postgresql://"),
        ("postgresql://u:hunter2@db/m?channel_binding=require", "has an option"),
    ],
)
async def test_what_is_no_address_is_refused_and_not_quoted(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^--from: .*{words}") as caught:
        async with open_source(url):
            pass
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
