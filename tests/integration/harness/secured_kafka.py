"""A Kafka that speaks TLS to users with a password, beside its plain listener. I/O: a process."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import SecretStr

from tests.integration.harness.own_kafka import OwnKafka
from tests.integration.harness.ports import free_port

USER = "tallybook"
PASSWORD = "correct-horse-battery-staple"
_JAAS = "org.apache.kafka.common.security"


class SecuredKafka(OwnKafka):
    """Its `address` is that of the listener with TLS and SASL."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        directory.mkdir()
        self._plain = self.address
        self.address = f"127.0.0.1:{free_port()}"
        authority = trustme.CA(key_type=trustme.KeyType.RSA)
        self.ca_file = directory / "ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        self._keystore = directory / "keystore.pem"
        self._keystore.write_bytes(_keystore(authority.issue_cert("127.0.0.1")))

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Give the settings with which it lets one in."""
        return {
            "kafka_security_protocol": "SASL_SSL",
            "kafka_username": USER,
            "kafka_password": SecretStr(PASSWORD),
            "kafka_ca_file": self.ca_file,
            **changes,
        }

    def _properties(self) -> Mapping[str, str]:
        controller = f"CONTROLLER://127.0.0.1:{self.controller_port}"
        listeners = f"PLAINTEXT://{self._plain},SASL_SSL://{self.address}"
        ours = "listener.name.sasl_ssl"
        return {
            "listeners": f"{listeners},{controller}",
            "advertised.listeners": listeners,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,"
            "CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            f"{ours}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            f"{ours}.plain.sasl.jaas.config": f"{_JAAS}.plain.PlainLoginModule required"
            f' user_{USER}="{PASSWORD}";',
            **{
                f"{ours}.{mechanism}.sasl.jaas.config": f"{_JAAS}.scram.ScramLoginModule required;"
                for mechanism in ("scram-sha-256", "scram-sha-512")
            },
            f"{ours}.ssl.keystore.type": "PEM",
            f"{ours}.ssl.keystore.location": str(self._keystore),
        }

    def _format_options(self) -> Sequence[str]:
        return [
            option
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for option in ("--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]")
        ]


def _keystore(certificate: trustme.LeafCert) -> bytes:
    """Write key and certificates as Kafka reads them: the key in PKCS #8."""
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    written = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return written + b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
