"""A broker that asks for a name and a password: Faust, producers, consumers and admin clients all give them."""

from pathlib import Path

from tests.support.command_line import CommandLine
from tests.support.guarded_broker import guarded_broker

USER = "memo"
PASSWORD = "open sesame"
MISSPELT = "open barley"


def shell(folder: Path, broker: str, database_url: str, prefix: str, password: str) -> CommandLine:
    return CommandLine.of(
        folder,
        kafka=broker,
        database_url=database_url,
        prefix=prefix,
        MEMOSTREAM_KAFKA__SECURITY_PROTOCOL="SASL_PLAINTEXT",
        MEMOSTREAM_KAFKA__SASL_USERNAME=USER,
        MEMOSTREAM_KAFKA__SASL_PASSWORD=password,
    )


async def test_the_whole_path_runs_on_a_broker_that_asks_for_a_password(
    tmp_path: Path, service_folder: Path, database_url: str, topic_prefix: str
) -> None:
    async with guarded_broker(service_folder / "guarded", USER, PASSWORD) as guarded:
        allowed = shell(tmp_path, guarded.address, database_url, topic_prefix, PASSWORD)
        with allowed.background("worker", until="worker.started") as worker:
            allowed.run("send", "--user", "ann", "My name is Ann")
            allowed.run("flush", "ann")
            entries = allowed.document("profile", "ann")["entries"]
            assert [(entry["topic"], entry["content"]) for entry in entries] == [("basic_info", "Ann")]
            assert allowed.document("audit")["counts"]["applied"] == 1
        assert PASSWORD not in worker.output()

        refused = shell(tmp_path, guarded.address, database_url, topic_prefix, MISSPELT).run("worker", fails=True)
        assert "refuses the credentials; check kafka.sasl_username" in refused.stderr
        assert MISSPELT not in refused.stderr
