"""The gateway that `memostream up` runs: its token and its place."""

import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from cli.gateway import TOKEN_FILE, URL_FILE, published_url, url_of, with_root_token
from schemas.errors import ConfigurationError
from schemas.settings import ApiSettings, Settings


def token_of(settings: Settings) -> str:
    assert settings.api.root_token is not None
    return settings.api.root_token.get_secret_value()


def test_a_root_token_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    made = token_of(with_root_token(Settings(), folder))
    assert len(made) >= 32
    assert made == token_of(with_root_token(Settings(), folder))
    assert made != token_of(with_root_token(Settings(), tmp_path / "other"))
    assert stat.S_IMODE((folder / TOKEN_FILE).stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == [TOKEN_FILE]


def test_a_configured_token_holds_and_none_is_made(tmp_path: Path) -> None:
    settings = Settings(api=ApiSettings(root_token=SecretStr("mine")))
    assert token_of(with_root_token(settings, tmp_path)) == "mine"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="root-token: cannot be read or written"):
        with_root_token(Settings(), tmp_path / "file")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8019"),
        ("0.0.0.0", "http://127.0.0.1:8019"),
        ("::", "http://[::1]:8019"),
        ("gateway.example", "http://gateway.example:8019"),
    ],
)
def test_the_address_is_one_that_this_machine_reaches(host: str, url: str, tmp_path: Path) -> None:
    api = ApiSettings(host=host)
    assert url_of(api) == url
    with published_url(api, tmp_path):
        assert (tmp_path / URL_FILE).read_text() == f"{url}\n"
    assert not (tmp_path / URL_FILE).exists()
