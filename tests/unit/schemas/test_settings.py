"""Where settings come from, which place wins, and what an error says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from pydantic import BaseModel, ValidationError

from schemas.errors import ConfigurationError
from schemas.settings import KafkaSettings, LLMSettings, Settings, load_settings

EXAMPLE = Path(__file__).parents[3] / "config.yaml.example"


def read(
    folder: Path,
    environ: Mapping[str, str] | None = None,
    *,
    file: str | None = None,
    dotenv: str = "",
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    (folder / ".env").write_text(dotenv)
    config_file = None
    if file is not None:
        config_file = folder / "config.yaml"
        config_file.write_text(file)
    return load_settings(config_file, environ or {}, folder / ".env", overrides)


def refusal(folder: Path, environ: Mapping[str, str] | None = None, **places: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(folder, environ, **places)
    return str(caught.value)


def test_the_example_file_holds_every_key_with_its_default(tmp_path: Path) -> None:
    document = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    assert list(document) == list(Settings.model_fields)
    for section, field in Settings.model_fields.items():
        assert isinstance(field.annotation, type)
        assert issubclass(field.annotation, BaseModel)
        assert list(document[section]) == list(field.annotation.model_fields)
    assert load_settings(EXAMPLE, {}, tmp_path / ".env") == Settings()


def test_without_any_place_the_settings_are_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(environ={}) == Settings()


def test_the_command_line_beats_the_environment_beats_dotenv_beats_the_file(tmp_path: Path) -> None:
    file = "kafka: {partitions: 1, replication_factor: 1, topic_prefix: a, request_timeout_s: 1}"
    dotenv = "\n".join(
        (
            "MEMOSTREAM_KAFKA__REPLICATION_FACTOR=2",
            "MEMOSTREAM_KAFKA__TOPIC_PREFIX=b",
            "MEMOSTREAM_KAFKA__REQUEST_TIMEOUT_S=2",
        )
    )
    environ = {"MEMOSTREAM_KAFKA__TOPIC_PREFIX": "c", "MEMOSTREAM_KAFKA__REQUEST_TIMEOUT_S": "3"}
    overrides = {"kafka": {"request_timeout_s": 4.0}}
    kafka = read(tmp_path, environ, file=file, dotenv=dotenv, overrides=overrides).kafka
    assert (kafka.partitions, kafka.replication_factor) == (1, 2)
    assert (kafka.topic_prefix, kafka.request_timeout_s) == ("c", 4.0)


def test_config_yaml_of_the_working_directory_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("relay: {shards: 3}")
    assert load_settings(environ={}).relay.shards == 3


@pytest.mark.parametrize("place", ["environment", "dotenv"])
def test_a_variable_names_the_configuration_file(tmp_path: Path, place: str) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("relay: {shards: 3}")
    if place == "environment":
        settings = read(tmp_path, {"MEMOSTREAM_CONFIG": str(other)})
    else:
        settings = read(tmp_path, dotenv=f"MEMOSTREAM_CONFIG={other}")
    assert settings.relay.shards == 3


def test_only_what_was_set_somewhere_counts_as_set(tmp_path: Path) -> None:
    settings = read(tmp_path, {"MEMOSTREAM_KAFKA__PARTITIONS": "8"}, file="storage: {pool_size: 4}")
    assert settings.kafka.model_fields_set == {"partitions"}
    assert settings.storage.model_fields_set == {"pool_size"}
    assert settings.llm.model_fields_set == set()


def test_mappings_come_as_json_or_key_by_key(tmp_path: Path) -> None:
    assert read(tmp_path, {"MEMOSTREAM_LLM__DEFAULT_HEADERS": '{"X-Team": "a"}'}).llm.default_headers == {"X-Team": "a"}
    assert read(tmp_path, {"MEMOSTREAM_LLM__DEFAULT_QUERY__region": "eu"}).llm.default_query == {"region": "eu"}
    assert read(tmp_path, {"MEMOSTREAM_RELAY": '{"shards": 2}'}).relay.shards == 2


def test_an_empty_variable_and_an_empty_section_count_as_unset(tmp_path: Path) -> None:
    settings = read(tmp_path, {"MEMOSTREAM_LLM__API_KEY": ""}, file="kafka:\nrelay:\n  shards: 2\n")
    assert settings.llm.api_key is None
    assert settings.kafka == KafkaSettings()


def test_variables_of_other_parts_are_no_settings(tmp_path: Path) -> None:
    environ = {"MEMOSTREAM_DATA_DIR": "d", "MEMOSTREAM_TEST_KAFKA": "k", "MEMOSTREAM_EMBEDDED_CACHE": "c"}
    assert read(tmp_path, environ) == Settings()


@pytest.mark.parametrize(
    "servers", ["", ",", "h:", "h:x", "h:65536", "http://h:9092", "[::1", "h\0:9", "a" * 64 + ":9092"]
)
def test_addresses_that_no_client_could_use_are_refused_when_they_are_read(servers: str) -> None:
    with pytest.raises(ValidationError, match="must be host:port"):
        KafkaSettings(bootstrap_servers=servers)


@pytest.mark.parametrize("servers", ["h", "h:9092", " a.b-c_d:1 , 10.0.0.1:2", "[::1]:9092", "kafka-0.kafka.svc.:9092"])
def test_addresses_of_brokers_are_taken_in_the_forms_that_clients_take(servers: str) -> None:
    assert KafkaSettings(bootstrap_servers=servers).bootstrap_servers == servers


@pytest.mark.parametrize(
    "url", ["", "host/v1", "ftp://h", "http://", "http://[::x", "http://h:x", "http://" + "a" * 64]
)
def test_an_endpoint_that_is_no_url_is_refused_and_not_quoted(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValidationError, match="must be a URL like"):
        LLMSettings(base_url=url)
    assert "hunter2" not in refusal(tmp_path, file="llm: {base_url: 'https://u:hunter2@h:x/v1'}")


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("postgresql://u:hunter2@h/d", "must start with"),
        ("postgresql+asyncpg://u:hunter2@h/d?sslmode=require", "write ssl=require"),
        ("postgresql+asyncpg://u:hunter2@h/d?hunter2=1", "an option that asyncpg does not take"),
        ("postgresql+asyncpg://u:hunter2@h:x/d", "must be like"),
        ("postgresql+asyncpg://u:hunter2@h:99999/d", "must be like"),
        ("postgresql+asyncpg://u:hunter2@" + "h" * 64 + "/d", "must be like"),
        ("postgresql+asyncpg://u:hunter2@[::1/d", "must be like"),
    ],
)
def test_a_database_url_that_would_fail_in_the_driver_is_refused_and_not_quoted(
    tmp_path: Path, url: str, complaint: str
) -> None:
    message = refusal(tmp_path, file=f"storage: {{database_url: '{url}'}}")
    assert complaint in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "rest",
    [
        "/d",
        "h",
        "h/d",
        "u:p@h:1/d?ssl=require",
        "u:p?:/#[x@h/d",
        "u@[::1]:5432/d",
        "u:p@/d?host=/run/postgresql",
        "10.0.0.1/d",
    ],
)
def test_database_urls_are_taken_in_the_forms_that_the_driver_takes(tmp_path: Path, rest: str) -> None:
    url = f"postgresql+asyncpg://{rest}"
    storage = read(tmp_path, file=f"storage: {{database_url: '{url}'}}").storage
    assert storage.database_url.get_secret_value() == url


def test_a_section_that_is_no_section_is_named(tmp_path: Path) -> None:
    assert "kafka: must hold keys and values" in refusal(tmp_path, file="kafka: 5")


def test_an_unknown_key_of_the_file_is_named_with_the_nearest_and_the_file(tmp_path: Path) -> None:
    message = refusal(tmp_path, file="kafka: {partitons: 3}")
    assert "unknown key kafka.partitons; did you mean kafka.partitions?" in message
    assert str(tmp_path / "config.yaml") in message


def test_an_unknown_variable_is_named_with_the_nearest_key(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"MEMOSTREAM_KAFKA__PARTITONS": "3"})
    assert "did you mean kafka.partitions?" in message
    assert "environment variable MEMOSTREAM_KAFKA__PARTITONS" in message


def test_a_misspelt_section_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    assert "did you mean kafka?" in refusal(tmp_path, file="kafak: {partitions: 3}")
    assert "did you mean kafka.partitions?" in refusal(tmp_path, {"MEMOSTREAM_KAFAK__PARTITIONS": "3"})
    assert "did you mean kafka.partitions?" in refusal(tmp_path, {"MEMOSTREAM_PARTITIONS": "3"})
    assert ".env: MEMOSTREAM_KAFAK__PARTITIONS" in refusal(tmp_path, dotenv="MEMOSTREAM_KAFAK__PARTITIONS=3")


def test_an_unknown_key_inside_a_json_variable_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"MEMOSTREAM_KAFKA": '{"topic_prefx": "a"}'})
    assert "did you mean kafka.topic_prefix? (environment variable MEMOSTREAM_KAFKA)" in message


def test_a_key_with_no_near_name_lists_those_of_its_section(tmp_path: Path) -> None:
    assert "known here: relay.shards, relay.lease_s" in refusal(tmp_path, file="relay: {qqqqqq: 3}")


def test_a_wrong_value_is_named_with_its_key_and_the_place_that_won(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"MEMOSTREAM_KAFKA__PARTITIONS": "many"}, file="kafka: {partitions: 3}")
    assert "kafka.partitions: Input should be a valid integer" in message
    assert message.endswith("(environment variable MEMOSTREAM_KAFKA__PARTITIONS)")


@pytest.mark.parametrize(
    "environ",
    [
        {"MEMOSTREAM_STORAGE__DATABASE_URL": "mysql://user:hunter2@host/db"},
        {"MEMOSTREAM_KAFKA": "hunter2"},
        {"MEMOSTREAM_LLM__DEFAULT_HEADERS": "hunter2"},
        {"MEMOSTREAM_LLM__API_KEY__X": "hunter2"},
        {"MEMOSTREAM_KAFKA__SECURITY_PROTOCOL": "SASL_SSL", "MEMOSTREAM_KAFKA__SASL_PASSWORD": "hunter2"},
        {"MEMOSTREAM_LLM__API_KYE": "hunter2"},
    ],
)
def test_no_error_quotes_a_value(tmp_path: Path, environ: dict[str, str]) -> None:
    assert "hunter2" not in refusal(tmp_path, environ)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("a: [", "is no YAML (line 1, column 5)"),
        ("- a\n- b", "the top level must be a mapping of sections"),
        ("hello", "the top level must be a mapping of sections"),
        ("kafka: 3", "kafka: "),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, file: str, expected: str) -> None:
    assert expected in refusal(tmp_path, file=file)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_settings(tmp_path / "none.yaml", {}, tmp_path / ".env")


def test_openai_needs_a_key_or_an_address(tmp_path: Path) -> None:
    assert "MEMOSTREAM_LLM__API_KEY" in refusal(tmp_path, {"MEMOSTREAM_EXTRACTION__PROVIDER": "openai"})
    environ = {"MEMOSTREAM_EXTRACTION__PROVIDER": "openai", "MEMOSTREAM_LLM__API_KEY": "k"}
    assert read(tmp_path, environ).embedding_dimension == 1536


def test_the_offline_extractor_has_256_dimensions() -> None:
    assert Settings().embedding_dimension == 256


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().relay.shards = 3  # type: ignore[misc]


def test_client_options_carry_the_sasl_user_and_the_broker(tmp_path: Path) -> None:
    kafka = read(
        tmp_path,
        file="kafka: {bootstrap_servers: b:1, security_protocol: SASL_PLAINTEXT, sasl_username: u}",
        dotenv="MEMOSTREAM_KAFKA__SASL_PASSWORD=hunter2",
    ).kafka
    options = kafka.client_options()
    assert (options["bootstrap_servers"], options["sasl_plain_username"]) == ("b:1", "u")
    assert options["sasl_plain_password"] == "hunter2"
    assert "hunter2" not in repr(kafka)


def test_an_unreadable_authority_is_a_configuration_error(tmp_path: Path) -> None:
    kafka = KafkaSettings(security_protocol="SSL", ssl_ca_file=tmp_path / "none.pem")
    with pytest.raises(ConfigurationError, match="ssl"):
        kafka.ssl_context()


PRICED = {
    "prices": {
        "models": {
            "gpt-4o-mini": {"prompt_per_million": 0.15, "completion_per_million": 0.6},
            "text-embedding-3-small": {"embedding_per_million": 0.02},
        }
    }
}


@pytest.mark.parametrize("budget", [{"user_cost_a_day": 1}, {"projects": {"trial": {"project_cost_a_day": 1}}}])
@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("gpt-4o-mini", "prices.models must have prompt_per_million and completion_per_million of llm.model"),
        ("text-embedding-3-small", "prices.models must have embedding_per_million of embedding.model"),
    ],
)
def test_a_budget_of_money_wants_the_price_of_every_model_that_is_asked(
    tmp_path: Path, budget: dict[str, Any], missing: str, said: str
) -> None:
    document: dict[str, Any] = {"extraction": {"provider": "openai"}, "llm": {"api_key": "k"}, "budget": budget}
    assert read(tmp_path, file=yaml.safe_dump({**document, **PRICED})).budget.limits_money
    models = {name: price for name, price in PRICED["prices"]["models"].items() if name != missing}
    assert said in refusal(tmp_path, file=yaml.safe_dump({**document, "prices": {"models": models}}))


def test_a_budget_of_money_wants_no_prices_where_no_model_is_asked(tmp_path: Path) -> None:
    assert read(tmp_path, file="budget: {user_cost_a_day: 1}\n").budget.limits_money


@pytest.mark.parametrize("token", ["''", "' '", "'geheim\u00e4'", '"a\\nb"', '"a\\0b"'])
def test_a_root_token_that_no_header_could_carry_is_refused_without_being_shown(tmp_path: Path, token: str) -> None:
    refused = refusal(tmp_path, file=f"api: {{root_token: {token}}}")
    assert "api.root_token" in refused
    assert "geheim" not in refused


def test_a_root_token_out_of_a_file_may_end_with_a_line_break(tmp_path: Path) -> None:
    token = read(tmp_path, {"MEMOSTREAM_API__ROOT_TOKEN": "secret\n"}).api.root_token
    assert token is not None
    assert token.get_secret_value() == "secret"
