"""What drf-spectacular cannot see: the bearer token, and that errors are problem details."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension

PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "For people."},
        "code": {"type": "string", "description": "For programs."},
        "errors": {
            "type": "object",
            "description": "Messages by field, where the input was not valid.",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
    },
}
DESCRIPTIONS = {
    "400": "The input is not valid.",
    "401": "Nobody is signed in, or the token is not valid.",
    "403": "The token lacks the scope for this.",
    "404": "There is no such thing, or it is someone else's.",
    "409": "It conflicts with what is there or running.",
    "410": "It has expired.",
    "412": "`Tus-Resumable: 1.0.0` is missing.",
    "413": "The body is too large.",
    "415": "The body has a type that is not understood here.",
    "416": "The file has no such range.",
    "422": "It cannot be worked with; or the Idempotency-Key was used for another request.",
    "460": "The bytes do not match their checksum.",
    "429": "Too many requests; `Retry-After` says when to go on.",
    "502": "A model refused what it was asked.",
    "503": "A part of the site is restarting or full; `Retry-After` says when to try again.",
    "507": "The disk is full.",
}
BODY_STATUSES = ["400", "404", "409", "413", "415", "422", "502", "507"]
OPENAI_PREFIX = "/v1/"
OPENAI_ERROR: dict[str, Any] = {
    "type": "object",
    "description": "OpenAI's error object.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


class BearerToken(OpenApiAuthenticationExtension):
    """``Authorization: Bearer TOKEN``."""

    target_class = "ragsite.accounts.authentication.ApiTokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "An API token, made at /settings/tokens/."}


def add_problems(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """drf-spectacular's postprocessing hook: give every operation the errors that it can answer."""
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    schemas |= {"Problem": PROBLEM_SCHEMA, "OpenAIError": OPENAI_ERROR}
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            answers = operation["responses"]
            named = {status for status in answers if status >= "400" and "content" not in answers[status]}
            answers.update({status: _error_response(path, status) for status in named})
            for status in _statuses(path, method, operation):
                answers.setdefault(status, _error_response(path, status))
    return result


def _statuses(path: str, method: str, operation: dict[str, Any]) -> list[str]:
    parameters = {parameter["in"] for parameter in operation.get("parameters", [])}
    statuses = {"401", "403", "429", "503"}
    if "{" in path:
        statuses.add("404")
    if method in {"post", "put", "patch"}:
        statuses |= set(BODY_STATUSES)
    elif "query" in parameters:
        statuses.add("400")
    return sorted(statuses)


def _error_response(path: str, status: str) -> dict[str, Any]:
    if path.startswith(OPENAI_PREFIX):
        content_type, name = "application/json", "OpenAIError"
    else:
        content_type, name = "application/problem+json", "Problem"
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"description": DESCRIPTIONS[status], "content": {content_type: {"schema": schema}}}
