"""Holds requests and answers to Stripe's own OpenAPI document. I/O: reads that one file.

The document comes installed as data of the package seahaven-stripe-world (whose code is never
imported). Everything it does not name is an error, in requests and in answers. Use it to hold
any traffic with Stripe to the contract::

    contract = StripeContract.installed()
    contract.check_request("POST", "/v1/invoices", "customer=cus_1&currency=usd")
    contract.check_answer("POST", "/v1/invoices", 200, body)
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import msgspec
from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from infra.stripe_sandbox.forms import Tree, decode, entries

_PACKAGE = "seahaven-stripe-world"
_FILE = "seahaven_stripe_world/spec/spec3.json"
_URI = "stripe:openapi"
_FORM = "application/x-www-form-urlencoded"
_INTEGER = re.compile(r"-?[0-9]+")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")

Json = dict[str, Any]
_Check = Callable[[Any, Any, Any, Json], Iterator[ValidationError] | None]


class ContractError(AssertionError):
    """A request or an answer is not as Stripe's document says; `faults` says where."""

    def __init__(self, what: str, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n  ".join([what, *faults]))


def _nullable(check: _Check) -> _Check:
    """OpenAPI 3.0 says `nullable` beside a schema where JSON Schema would add the type null."""

    def checked(validator: Any, value: Any, instance: Any, schema: Json) -> Any:
        if instance is None and schema.get("nullable"):
            return None
        return check(validator, value, instance, schema)

    return checked


def _closed(validator: Any, properties: Json, instance: Any, schema: Json) -> Any:
    """Check an object's properties, and that it has no others unless the schema says so."""
    if not validator.is_type(instance, "object"):
        return
    yield from _KEYWORDS["properties"](validator, properties, instance, schema) or ()
    if "additionalProperties" not in schema:
        for name in instance.keys() - properties.keys():
            yield ValidationError(f"{name!r} is not in Stripe's schema", path=[name])


_extend = cast("Callable[[object, Mapping[str, _Check]], object]", validators.extend)
_KEYWORDS = cast("Mapping[str, _Check]", Draft202012Validator.VALIDATORS)
_StripeValidator = cast(
    "type[Validator]",
    _extend(
        Draft202012Validator,
        {name: _nullable(_KEYWORDS[name]) for name in ("type", "enum", "anyOf", "allOf", "$ref")}
        | {"properties": _closed},
    ),
)


class StripeContract:
    """Stripe's document, ready to check requests and answers against."""

    def __init__(self, document: Json) -> None:
        self.document = document
        resource = DRAFT202012.create_resource(document)
        self._registry: Registry[Any] = Registry().with_resource(_URI, resource)
        self._validators: dict[str, Validator] = {}
        self._templates = [
            (re.compile(re.sub(r"\\{[^}]+\\}", "[^/]+", re.escape(path))), path)
            for path in sorted(document["paths"], key=lambda path: path.count("{"))
        ]

    @classmethod
    @cache
    def installed(cls) -> "StripeContract":
        """Read the installed document; raises FileNotFoundError where it is not installed."""
        text = document_path().read_bytes()
        # References made absolute also hold in a part of the document taken by itself.
        return cls(msgspec.json.decode(text.replace(b'"#/', f'"{_URI}#/'.encode())))

    def check_request(self, method: str, path: str, form: str) -> None:
        """Check a POST's body, or another method's query string, both still encoded."""
        template, operation = self._operation(method, path)
        where = f"{method} {path}"
        if method == "POST":
            place = _pointer("paths", template, "post", "requestBody", "content", _FORM, "schema")
            schema = operation["requestBody"]["content"][_FORM]["schema"]
        else:
            schema = _query_schema(operation)
            place = f"query {method} {template}"
            self._validators.setdefault(place, self._validator(schema))
        self._raise_faults(where, place, self._coerced(decode(form), schema))

    def check_answer(self, method: str, path: str, status: int, body: bytes | Json) -> None:
        """Check an answer, whose body may be decoded already."""
        template, operation = self._operation(method, path)
        kind = str(status) if str(status) in operation["responses"] else "default"
        if status >= 400:
            kind = "default"
        place = _pointer(
            "paths",
            template,
            method.lower(),
            "responses",
            kind,
            "content",
            "application/json",
            "schema",
        )
        answer = msgspec.json.decode(body) if isinstance(body, bytes) else body
        self._raise_faults(f"{status} {method} {path}", place, answer)

    def _operation(self, method: str, path: str) -> tuple[str, Json]:
        for pattern, template in self._templates:
            if pattern.fullmatch(path) and method.lower() in self.document["paths"][template]:
                return template, self.document["paths"][template][method.lower()]
        raise ContractError(f"{method} {path}", ["Stripe has no such operation"])

    def _raise_faults(self, where: str, place: str, instance: Any) -> None:
        if place not in self._validators:
            self._validators[place] = self._validator({"$ref": place})
        faults = [_described(error) for error in self._validators[place].iter_errors(instance)]
        if faults:
            raise ContractError(where, faults)

    def _validator(self, schema: Json) -> Validator:
        return _StripeValidator(schema, registry=self._registry)

    def _coerced(self, value: str | Tree, schema: Json) -> Any:
        """Give a form's value the type its schema declares; where it can't, leave it to fail."""
        if "$ref" in schema:
            *_, name = schema["$ref"].split("/")
            return self._coerced(value, self.document["components"]["schemas"][name])
        if "anyOf" in schema:
            return self._coerced_to_any(value, schema["anyOf"])
        if isinstance(value, str):
            return _scalar(value, schema.get("type"))
        if schema.get("type") == "array":
            items = entries(value)
            if items is None:
                return value
            return [self._coerced(item, schema["items"]) for item in items]
        named = schema.get("properties", {})
        rest = schema.get("additionalProperties")
        others = rest if isinstance(rest, dict) else {}
        return {key: self._coerced(one, named.get(key, others)) for key, one in value.items()}

    def _coerced_to_any(self, value: str | Tree, schemas: list[Json]) -> Any:
        candidates = [(self._coerced(value, schema), schema) for schema in schemas]
        for coerced, schema in candidates:
            if self._validator(schema).is_valid(coerced):
                return coerced
        return candidates[0][0]


def document_path() -> Path:
    """Find Stripe's document; raises FileNotFoundError where it is not installed."""
    try:
        files = metadata.files(_PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.as_posix() == _FILE and (path := Path(str(file.locate()))).is_file():
            return path
    raise FileNotFoundError(f"Stripe's OpenAPI document is missing: install {_PACKAGE} (make test)")


def _query_schema(operation: Json) -> Json:
    declared = [one for one in operation.get("parameters", []) if one["in"] == "query"]
    return {
        "type": "object",
        "properties": {one["name"]: one["schema"] for one in declared},
        "required": [one["name"] for one in declared if one.get("required")],
        "additionalProperties": False,
    }


def _scalar(value: str, kind: str | None) -> object:
    if kind == "integer" and _INTEGER.fullmatch(value):
        return int(value)
    if kind == "number" and _NUMBER.fullmatch(value):
        return float(value)
    if kind == "boolean" and value in ("true", "false"):
        return value == "true"
    return value


def _pointer(*parts: str) -> str:
    escaped = (part.replace("~", "~0").replace("/", "~1") for part in parts)
    return f"{_URI}#/" + "/".join(quote(part, safe="~") for part in escaped)


def _described(error: ValidationError) -> str:
    deepest = best_match([error]) or error
    place = ".".join(str(part) for part in deepest.absolute_path) or "(the whole)"
    return f"{place}: {deepest.message[:300]}"
