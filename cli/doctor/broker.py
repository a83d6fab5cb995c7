"""Checks of the broker: whether it lets us in, at addresses that we can reach, with settings that suit ours."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import Final

from aiokafka.errors import KafkaError, SaslAuthenticationFailed

from cli.doctor.findings import Finding, failed, unless_faulty, warning
from cli.doctor.running import Check, Surroundings
from schemas.settings import KafkaSettings
from streams.clients import admin
from streams.inspection import read_broker_settings
from streams.listeners import Address, Cluster, Spoken, ask_cluster, bootstrap_addresses, is_open, listen_to

REACH_ADVICE: Final = "start the broker, or set kafka.bootstrap_servers to where it listens; check the firewall"


async def check_broker(surroundings: Surroundings) -> Sequence[Finding]:
    kafka = surroundings.settings.kafka
    # Several steps, one after the other, have to fit the time of one check.
    step_s = surroundings.timeout_s / 4
    try:
        addresses = bootstrap_addresses(kafka)
    except ValueError:
        return [failed("kafka.bootstrap_servers is no list of host:port", "write host:port, comma-separated")]
    opened = await asyncio.gather(*(_is_open(address, step_s) for address in addresses))
    reachable = [address for address, is_there in zip(addresses, opened, strict=True) if is_there]
    away = [address for address in addresses if address not in reachable]
    if not reachable:
        return [failed(f"nothing answers at {_listed(away)}", REACH_ADVICE)]
    faults = [warning(f"nothing answers at {_listed(away)}", REACH_ADVICE)] if away else []
    try:
        async with asyncio.timeout(step_s):
            cluster = await ask_cluster(kafka, reachable[0])
    except (OSError, TimeoutError, KafkaError) as error:
        spoken = await listen_to(reachable[0], step_s / 2)
        return [*faults, judge_refusal(kafka, reachable[0], spoken, error)]
    advertised = cluster.advertised
    found = await asyncio.gather(*(_is_open(address, step_s) for address in advertised.values()))
    unreachable = {number for number, is_there in zip(advertised, found, strict=True) if not is_there}
    return unless_faulty([*faults, *judge_advertised(cluster, unreachable)], describe_cluster(cluster, kafka))


def judge_refusal(kafka: KafkaSettings, address: Address, spoken: Spoken, error: BaseException) -> Finding:
    """Why a listener that takes connections does not let our clients in."""
    with_tls, with_sasl = kafka.security_protocol.endswith("SSL"), kafka.security_protocol.startswith("SASL")
    if isinstance(error, ssl.SSLCertVerificationError):
        return failed(
            f"the certificate of {address} is not trusted: {error.verify_message}",
            "set kafka.ssl_ca_file to the PEM of its authority, and use the host name that the certificate is for",
        )
    needs_sasl = with_sasl if spoken.mechanisms is None else bool(spoken.mechanisms)
    if spoken.tls != with_tls or needs_sasl != with_sasl:
        wanted = f"{'SASL_' if needs_sasl else ''}{'SSL' if spoken.tls else 'PLAINTEXT'}"
        also = "; set kafka.sasl_username and kafka.sasl_password" if needs_sasl and not with_sasl else ""
        return failed(
            f"{address} speaks {wanted}, kafka.security_protocol is {kafka.security_protocol}",
            f"set kafka.security_protocol to {wanted}{also}",
        )
    if with_sasl and spoken.mechanisms and kafka.sasl_mechanism not in spoken.mechanisms:
        return failed(
            f"{address} offers {', '.join(spoken.mechanisms)}, kafka.sasl_mechanism is {kafka.sasl_mechanism}",
            f"set kafka.sasl_mechanism to {spoken.mechanisms[0]}",
        )
    if with_sasl and isinstance(error, SaslAuthenticationFailed):
        return failed(
            f"{address} refuses the name or the password", "check kafka.sasl_username and kafka.sasl_password"
        )
    if with_tls:
        return failed(
            f"{address} ends the connection after the TLS handshake ({type(error).__name__})",
            "if it asks clients for a certificate, set kafka.ssl_cert_file and kafka.ssl_key_file",
        )
    return failed(
        f"{address} takes connections and does not answer as a Kafka broker ({type(error).__name__})",
        "check that kafka.bootstrap_servers names a broker's listener, not its controller's or another program's",
    )


def judge_advertised(cluster: Cluster, unreachable: set[int]) -> list[Finding]:
    """Clients go on at the addresses that the brokers name, whatever address they began with."""
    return [
        failed(
            f"broker {number} wants its clients to go on at {cluster.advertised[number]}, which cannot be reached",
            "set the broker's advertised.listeners to an address that this machine can reach",
        )
        for number in sorted(unreachable)
    ]


def describe_cluster(cluster: Cluster, kafka: KafkaSettings) -> str:
    count = len(cluster.advertised)
    return f"{count} {'broker' if count == 1 else 'brokers'} at {kafka.bootstrap_servers}, {kafka.security_protocol}"


async def check_broker_settings(surroundings: Surroundings) -> Sequence[Finding]:
    kafka = surroundings.settings.kafka
    async with admin(kafka) as client:
        brokers = await read_broker_settings(client)
    if not brokers:
        return [
            warning(
                "this user may not read the brokers' settings, so they were not checked",
                "allow DescribeConfigs on the cluster to have them checked",
            )
        ]
    faults = dict.fromkeys(fault for settings in brokers.values() for fault in judge_broker(kafka, settings))
    return unless_faulty(faults, "time-outs of sessions and transactions fit")


def judge_broker(kafka: KafkaSettings, settings: Mapping[str, str]) -> list[Finding]:
    """Settings of a broker under which our clients would be refused; what is not known is taken to fit."""
    faults = []
    session_ms, transaction_ms = int(kafka.session_timeout_s * 1000), int(kafka.transaction_timeout_s * 1000)
    least_ms = int(settings.get("group.min.session.timeout.ms", session_ms))
    most_ms = int(settings.get("group.max.session.timeout.ms", session_ms))
    longest_ms = int(settings.get("transaction.max.timeout.ms", transaction_ms))
    if session_ms < least_ms:
        faults.append(
            failed(
                f"kafka.session_timeout_s is {session_ms / 1000:g}, the broker takes no less than "
                f"{least_ms / 1000:g} (group.min.session.timeout.ms)",
                f"set kafka.session_timeout_s to {least_ms / 1000:g}, or lower the broker's setting",
            )
        )
    if session_ms > most_ms:
        faults.append(
            failed(
                f"kafka.session_timeout_s is {session_ms / 1000:g}, the broker takes no more than "
                f"{most_ms / 1000:g} (group.max.session.timeout.ms)",
                f"set kafka.session_timeout_s to {most_ms / 1000:g}, or raise the broker's setting",
            )
        )
    if transaction_ms > longest_ms:
        faults.append(
            failed(
                f"kafka.transaction_timeout_s is {transaction_ms / 1000:g}, the broker takes no more than "
                f"{longest_ms / 1000:g} (transaction.max.timeout.ms)",
                f"set kafka.transaction_timeout_s to {longest_ms / 1000:g}, or raise the broker's setting",
            )
        )
    if settings.get("auto.create.topics.enable") == "true":
        faults.append(
            warning(
                "the broker creates topics by itself, so a misspelt name becomes a topic with default settings",
                "set auto.create.topics.enable=false on the brokers; memostream declares its own topics",
            )
        )
    return faults


async def _is_open(address: Address, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            return await is_open(address)
    except TimeoutError:
        return False


def _listed(addresses: Sequence[Address]) -> str:
    return ", ".join(map(str, addresses))


CHECKS: Final = (
    Check("broker", check_broker, REACH_ADVICE),
    Check("broker-settings", check_broker_settings, REACH_ADVICE, needs=("broker",)),
)
