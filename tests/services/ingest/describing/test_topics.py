"""The AsyncAPI document of the usage topic: well formed, and its schemas fit what is written."""

import copy
import json
from typing import Any

import jsonschema
import pytest
from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema

from services.ingest.describing.topics import Topic, topics_document
from tests.shared.factories import event_document, execution_data

TOPIC = Topic("usage.events", 6, 3, ["kafka-1:9094", "kafka-2:9094"], secured=True)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return topics_document(TOPIC)


def schema_of(document: dict[str, Any], message: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(
        document["components"]["messages"][message]["payload"]["schema"]
    )


def test_it_is_asyncapi_3(document: dict[str, Any]) -> None:
    readable = copy.deepcopy(document)
    for server in readable["servers"].values():
        server["pathname"] = ""  # FastStream's model asks for it; the specification does not
    model = ApplicationSchema.model_validate(readable)
    assert model.asyncapi == "3.0.0"
    json.dumps(document)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    channel = document["channels"]["usage"]
    messages = document["components"]["messages"]
    for name, reference in channel["messages"].items():
        assert reference == {"$ref": f"#/components/messages/{name}"}
        assert name in messages
    (operation,) = document["operations"].values()
    assert operation["channel"] == {"$ref": "#/channels/usage"}
    assert operation["messages"] == [
        {"$ref": f"#/channels/usage/messages/{name}"} for name in channel["messages"]
    ]


def test_it_names_topic_and_servers(document: dict[str, Any]) -> None:
    assert document["channels"]["usage"]["address"] == "usage.events"
    assert [(server["host"], server["protocol"]) for server in document["servers"].values()] == [
        ("kafka-1:9094", "kafka-secure"),
        ("kafka-2:9094", "kafka-secure"),
    ]


def test_both_modes_fit_their_schemas(document: dict[str, Any]) -> None:
    schema_of(document, "structured").validate(event_document())
    schema_of(document, "binary").validate(execution_data(region="eu"))
    assert not schema_of(document, "structured").is_valid(event_document(subject=""))
    assert not schema_of(document, "binary").is_valid(execution_data(status="perhaps"))
    headers = document["components"]["messages"]["binary"]["headers"]
    binary = {f"ce_{name}": value for name, value in event_document().items() if name != "data"}
    validator = jsonschema.Draft202012Validator(headers)
    validator.validate(binary)
    binary.pop("ce_subject")
    assert not validator.is_valid(binary)
