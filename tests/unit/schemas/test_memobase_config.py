"""A configuration of Memobase's loads as it is, is checked, and says what of it has no effect."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from schemas.errors import ConfigurationError
from schemas.memobase_keys import ACCESS_TOKEN, MEMOBASE_KEYS, MEMOBASE_VARIABLES
from schemas.settings import Settings, load_settings

FULL = """
# As Memobase's own example has it, and more.
llm_api_key: sk-1
llm_base_url: https://llm.example/v1
best_llm_model: some-model
llm_openai_default_query: {api-version: 2024-02-01}
llm_openai_default_header: {X-Team: 7}
language: zh
system_prompt: You are Ada.
persistent_chat_blobs: true
buffer_flush_interval: 600
max_chat_blob_buffer_token_size: 2048
max_chat_blob_buffer_process_token_size: 8192
enable_event_embedding: true
embedding_provider: openai
embedding_api_key: sk-2
embedding_base_url: https://vectors.example/v1
embedding_model: some-vectors
embedding_dim: 768
additional_user_profiles:
  - topic: Gaming
    sub_topics: [FPS, {name: favourite game, description: the title}]
"""


def read(folder: Path, file: str = "", environ: Mapping[str, str] | None = None, dotenv: str = "") -> Settings:
    (folder / ".env").write_text(dotenv)
    config_file = folder / "config.yaml"
    config_file.write_text(file)
    return load_settings(config_file, environ or {}, folder / ".env")


def refusal(folder: Path, file: str = "", environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(folder, file, environ)
    return str(caught.value)


def secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def test_a_whole_file_of_memobases_becomes_our_settings(tmp_path: Path) -> None:
    settings = read(tmp_path, FULL)
    assert (settings.extraction.provider, settings.extraction.language) == ("openai", "zh")
    assert settings.extraction.system_prompt == "You are Ada."
    assert secret(settings.llm.api_key) == "sk-1"
    assert (settings.llm.base_url, settings.llm.model) == ("https://llm.example/v1", "some-model")
    assert settings.llm.default_query == {"api-version": "2024-02-01"}
    assert settings.llm.default_headers == {"X-Team": "7"}
    assert settings.storage.persistent_chat_blobs
    assert settings.buffer.buffer_flush_interval_s == 600
    assert settings.buffer.max_chat_blob_buffer_token_size == 2048
    assert settings.buffer.max_chat_blob_buffer_process_token_size == 8192
    assert settings.embedding.enabled
    assert secret(settings.embedding.api_key) == "sk-2"
    assert settings.embedding.base_url == "https://vectors.example/v1"
    assert (settings.embedding_model, settings.embedding_dimension) == ("some-vectors", 768)
    (topic,) = settings.profile.additional_user_profiles
    assert (topic.topic, [slot.name for slot in topic.sub_topics]) == ("gaming", ["fps", "favourite_game"])
    assert settings.without_effect == ()


@pytest.mark.parametrize("file", ["", "# nothing\n", "llm_api_key:\n", "language: null\nuse_timezone: null\n"])
def test_a_file_that_sets_nothing_leaves_the_defaults(tmp_path: Path, file: str) -> None:
    assert read(tmp_path, file) == Settings()


@pytest.mark.parametrize("key", ["llm_api_key: k", "{llm_base_url: 'http://llm/v1'}", "{llm_api_key: k, language: en}"])
def test_a_model_in_the_file_implies_the_provider(tmp_path: Path, key: str) -> None:
    assert read(tmp_path, key).extraction.provider == "openai"


def test_a_model_without_a_key_is_refused_as_memobase_refuses_it(tmp_path: Path) -> None:
    assert "llm.api_key must be set" in refusal(tmp_path, "best_llm_model: some-model")


def test_our_own_provider_is_stronger_than_the_implied_one(tmp_path: Path) -> None:
    assert read(tmp_path, "llm_api_key: k\nextraction: {provider: offline}").extraction.provider == "offline"
    environ = {"MEMOSTREAM_EXTRACTION__PROVIDER": "offline"}
    assert read(tmp_path, "llm_api_key: k", environ).extraction.provider == "offline"


def test_a_file_without_a_model_keeps_the_offline_provider(tmp_path: Path) -> None:
    assert read(tmp_path, "max_chat_blob_buffer_token_size: 512").extraction.provider == "offline"


def test_a_large_buffer_raises_the_size_of_a_window_with_it(tmp_path: Path) -> None:
    buffer = read(tmp_path, "max_chat_blob_buffer_token_size: 20000").buffer
    assert buffer.max_chat_blob_buffer_process_token_size == 20000
    message = refusal(tmp_path, "{max_chat_blob_buffer_token_size: 20000, max_chat_blob_buffer_process_token_size: 99}")
    assert "must not be below" in message


def test_the_chain_of_places(tmp_path: Path) -> None:
    file = "{best_llm_model: file, llm_api_key: file, language: en, system_prompt: file}"
    dotenv = "MEMOBASE_LLM_API_KEY=dotenv\nMEMOBASE_LANGUAGE=zh\nMEMOBASE_SYSTEM_PROMPT=dotenv"
    environ = {"MEMOBASE_LANGUAGE": "en", "MEMOBASE_SYSTEM_PROMPT": "variable", "MEMOSTREAM_LLM__MODEL": "ours"}
    settings = read(tmp_path, file, environ, dotenv)
    assert (secret(settings.llm.api_key), settings.llm.model) == ("dotenv", "ours")
    assert (settings.extraction.language, settings.extraction.system_prompt) == ("en", "variable")
    ours = read(tmp_path, file, environ, dotenv + "\nMEMOSTREAM_EXTRACTION__SYSTEM_PROMPT=ours")
    assert ours.extraction.system_prompt == "ours"


def test_a_variable_of_memobases_is_stronger_than_our_section_of_the_file(tmp_path: Path) -> None:
    settings = read(tmp_path, "llm: {api_key: k, model: section}", {"MEMOBASE_BEST_LLM_MODEL": "variable"})
    assert settings.llm.model == "variable"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("12345", "12345"), ("1e5", "1e5"), ('"quoted"', "quoted"), ("sk-plain", "sk-plain"), ("true", "true")],
)
def test_a_text_in_a_variable_stays_a_text(tmp_path: Path, text: str, expected: str) -> None:
    settings = read(tmp_path, "", {"MEMOBASE_LLM_API_KEY": text})
    assert (secret(settings.llm.api_key), settings.extraction.provider) == (expected, "openai")


def test_variables_hold_json(tmp_path: Path) -> None:
    environ = {
        "MEMOBASE_LLM_OPENAI_DEFAULT_HEADER": '{"X-Team": "a"}',
        "MEMOBASE_MAX_CHAT_BLOB_BUFFER_TOKEN_SIZE": "2048",
        "MEMOBASE_ENABLE_EVENT_EMBEDDING": "False",
        "MEMOBASE_OVERWRITE_USER_PROFILES": '[{"topic": "work", "sub_topics": ["title"]}]',
        "MEMOBASE_SYSTEM_PROMPT": "null",
    }
    settings = read(tmp_path, "", environ)
    assert settings.llm.default_headers == {"X-Team": "a"}
    assert settings.buffer.max_chat_blob_buffer_token_size == 2048
    assert not settings.embedding.enabled
    assert settings.extraction.system_prompt is None
    assert [topic.topic for topic in settings.profile.overwrite_user_profiles or ()] == ["work"]


def test_an_unset_key_of_embeddings_takes_the_llms_address_too(tmp_path: Path) -> None:
    settings = read(tmp_path, "{llm_api_key: k, llm_base_url: 'http://llm/v1', embedding_base_url: 'http://other/v1'}")
    assert (settings.embedding.base_url, settings.embedding.api_key) == (None, None)
    assert any("embedding_base_url: no effect without embedding_api_key" in line for line in settings.without_effect)


def test_a_key_of_embeddings_alone_is_shown_to_openai_only(tmp_path: Path) -> None:
    file = "{llm_api_key: k, llm_base_url: 'http://llm/v1', embedding_api_key: sk-openai}"
    assert read(tmp_path, file).embedding.base_url == "https://api.openai.com/v1"
    own = read(tmp_path, file, {"MEMOSTREAM_EMBEDDING__BASE_URL": "http://ours/v1"})
    assert own.embedding.base_url == "http://ours/v1"


@pytest.mark.parametrize(
    ("provider", "given", "expected"),
    [
        ("ollama", "http://127.0.0.1:11434/", "http://127.0.0.1:11434/v1"),
        ("ollama", "http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434/v1"),
        ("lmstudio", "http://127.0.0.1:1234/v1", "http://127.0.0.1:1234/v1"),
        ("jina", None, "https://api.jina.ai/v1"),
        ("jina", "https://jina.example/v1", "https://jina.example/v1"),
    ],
)
def test_other_embedding_providers_are_reached_by_openais_api(
    tmp_path: Path, provider: str, given: str | None, expected: str
) -> None:
    file = (
        f"llm_api_key: k\nembedding_provider: {provider}\nembedding_api_key: e\nembedding_base_url: {given or 'null'}"
    )
    settings = read(tmp_path, file)
    assert settings.embedding.base_url == expected
    assert settings.embedding.api == ("jina" if provider == "jina" else "openai")


def test_a_local_embedding_provider_needs_its_address(tmp_path: Path) -> None:
    message = refusal(tmp_path, "{llm_api_key: k, embedding_provider: ollama}")
    assert "embedding_base_url must be set with embedding_provider: ollama" in message
    assert "config.yaml: embedding_provider" in message


def test_both_keys_in_one_file_may_agree(tmp_path: Path) -> None:
    file = """
llm_api_key: k
buffer_flush_interval: 600
additional_user_profiles: [{topic: A b, sub_topics: [c]}]
llm: {api_key: k, timeout_s: 5}
buffer: {buffer_flush_interval_s: 600.0}
profile: {additional_user_profiles: [{topic: a_b, sub_topics: [{name: C}]}]}
"""
    settings = read(tmp_path, file)
    assert (settings.llm.timeout_s, settings.buffer.buffer_flush_interval_s) == (5, 600)


def test_both_keys_in_one_file_that_disagree_are_both_named(tmp_path: Path) -> None:
    message = refusal(
        tmp_path, "{llm_api_key: hunter2, language: en, llm: {api_key: hunter3}, extraction: {language: zh}}"
    )
    assert f"llm.api_key and {tmp_path / 'config.yaml'}: llm_api_key set the same to different values" in message
    assert f"extraction.language and {tmp_path / 'config.yaml'}: language" in message
    assert "hunter" not in message


def test_in_a_file_that_is_memobases_an_unknown_key_is_named_with_the_nearest(tmp_path: Path) -> None:
    settings = read(tmp_path, "{llm_api_key: k, best_llm_modle: m, zzzz: 1}", {"MEMOBASE_LANGAUGE": "en"})
    assert settings.llm.model == "gpt-4o-mini"
    file, unknown = tmp_path / "config.yaml", "unknown to Memobase's server and to memostream"
    assert settings.without_effect == (
        f"{file}: best_llm_modle: {unknown}; did you mean best_llm_model?",
        f"{file}: zzzz: {unknown}",
        f"environment variable MEMOBASE_LANGAUGE: {unknown}; did you mean language?",
    )


def test_in_a_file_with_a_section_of_ours_an_unknown_key_is_an_error(tmp_path: Path) -> None:
    message = refusal(tmp_path, "{llm_api_key: k, best_llm_modle: m, relay: {shards: 2}}")
    assert "unknown key best_llm_modle; did you mean best_llm_model?" in message
    assert "did you mean extraction.language?" in refusal(tmp_path, "langauge: en")


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("embedding_dim: many", "embedding_dim: Input should be a valid integer"),
        ("max_profile_subtopics: none", "max_profile_subtopics: Input should be a valid integer"),
        ("use_timezone: Mars/Base", "use_timezone: Input should be 'UTC'"),
        ("profile_strict_mode: perhaps", "profile_strict_mode: Input should be a valid boolean"),
        ("event_tags: 3", "event_tags: "),
        ("event_tags: [{nam: a}]", "event_tags, event_tag 1, name: is missing"),
        ("llm_api_key: [a]", "llm_api_key: Input should be a valid string"),
        ("language: ja", "language: Input should be 'en' or 'zh'"),
        ("buffer_flush_interval: 0", "buffer_flush_interval: Input should be greater than 0"),
        (
            "additional_user_profiles: [{topic: a, sub_topics: [b]}, {topic: c, sub_topics: [{description: d}]}]",
            "additional_user_profiles, topic 2, sub_topic 1, name: is missing",
        ),
        ("overwrite_user_profiles: [{topic: a}]", "overwrite_user_profiles, topic 1, sub_topics: is missing"),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_place(tmp_path: Path, file: str, expected: str) -> None:
    message = refusal(tmp_path, file)
    assert expected in message
    assert f"({tmp_path / 'config.yaml'}: {file.partition(':')[0]})" in message


def test_a_wrong_value_of_a_variable_is_named_with_the_variable_and_not_quoted(tmp_path: Path) -> None:
    message = refusal(tmp_path, "", {"MEMOBASE_EMBEDDING_DIM": "hunter2"})
    assert message.endswith("(environment variable MEMOBASE_EMBEDDING_DIM)")
    assert "hunter2" not in message


def test_a_value_that_only_we_refuse_is_named_with_memobases_key(tmp_path: Path) -> None:
    message = refusal(tmp_path, "", {"MEMOBASE_LLM_OPENAI_DEFAULT_QUERY": "hunter2"})
    assert "llm_openai_default_query" in message
    assert "hunter2" not in message


def test_what_has_no_effect_is_told_with_the_reason(tmp_path: Path) -> None:
    file = (
        "{llm_api_key: k, cache_user_profiles_ttl: 60, profile_strict_mode: true, telemetry_deployment_environment: x}"
    )
    told = read(tmp_path, file, {"MEMOBASE_USE_TIMEZONE": "Asia/Tokyo"}).without_effect
    path = tmp_path / "config.yaml"
    assert told == (
        "environment variable MEMOBASE_USE_TIMEZONE: no effect yet, dates are UTC",
        f"{path}: cache_user_profiles_ttl: no effect, nothing is cached: profiles are read where they are written",
        f"{path}: telemetry_deployment_environment: no effect, no telemetry is sent",
    )


def test_a_value_that_asks_for_nothing_is_not_told(tmp_path: Path) -> None:
    file = "{llm_style: openai, profile_strict_mode: false, event_tags: [], use_timezone: UTC, summary_llm_model: null}"
    assert read(tmp_path, file).without_effect == ()


def test_with_our_own_offline_provider_the_model_for_embeddings_is_left_out(tmp_path: Path) -> None:
    settings = read(tmp_path, FULL, {"MEMOSTREAM_EXTRACTION__PROVIDER": "offline"})
    assert (settings.embedding.model_fields_set, settings.embedding_dimension) == ({"enabled"}, 256)
    told = [line for line in settings.without_effect if "embedding_" in line]
    assert len(told) == 4
    assert all(line.endswith("no effect with extraction.provider offline") for line in told)


def test_a_variable_of_memobases_client_alone_is_no_configuration_of_its_server(tmp_path: Path) -> None:
    environ = {"MEMOBASE_PROJECT_URL": "http://memobase", "DATABASE_URL": "postgresql://db"}
    assert [line.partition(":")[0] for line in read(tmp_path, "", environ).without_effect] == [
        "environment variable MEMOBASE_PROJECT_URL"
    ]


def test_variables_of_memobases_server_are_told_beside_its_configuration_only(tmp_path: Path) -> None:
    environ = {
        "DATABASE_URL": "postgresql://u:hunter2@db/memobase",
        "REDIS_URL": "redis://:hunter2@r",
        "PROJECT_ID": "p",
    }
    assert read(tmp_path, "relay: {shards: 2}", environ).without_effect == ()
    told = read(tmp_path, "llm_api_key: k", environ).without_effect
    assert [line.partition(":")[0] for line in told] == ["DATABASE_URL", "REDIS_URL", "PROJECT_ID"]
    assert "MEMOSTREAM_STORAGE__DATABASE_URL" in told[0]
    assert not any("hunter2" in line for line in told)
    assert read(tmp_path, "llm_api_key: k", environ).storage == Settings().storage


def test_memobases_access_token_is_the_root_token_beside_its_configuration_unless_ours_is_set(tmp_path: Path) -> None:
    dotenv = "ACCESS_TOKEN=hunter2"
    assert read(tmp_path, "relay: {shards: 2}", {}, dotenv=dotenv).api.root_token is None
    settings = read(tmp_path, "llm_api_key: k", {}, dotenv=dotenv)
    assert settings.api.root_token == SecretStr("hunter2")
    assert settings.without_effect == ()
    ours = {"MEMOSTREAM_API__ROOT_TOKEN": "ours"}
    assert read(tmp_path, "llm_api_key: k", ours, dotenv=dotenv).api.root_token == SecretStr("ours")


def test_every_key_that_is_translated_names_a_setting_that_exists() -> None:
    for key in MEMOBASE_KEYS.values():
        assert (key.becomes is not None) == (key.effect == "now" and key.name != "embedding_provider")
        if key.becomes is not None:
            section, name = key.becomes
            assert hasattr(getattr(Settings(), section), name)
        else:
            assert key.note


def test_every_variable_says_what_becomes_of_it() -> None:
    assert {name for name, note in MEMOBASE_VARIABLES.items() if not note.startswith("not read: ")} == {ACCESS_TOKEN[0]}
    assert hasattr(getattr(Settings(), ACCESS_TOKEN[1][0]), ACCESS_TOKEN[1][1])
