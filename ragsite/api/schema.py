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
    "413": "The body is too large.",
    "415": "The body has a type that is not understood here.",
    "422": "The Idempotency-Key was used for another request.",
    "429": "Too many requests; `Retry-After` says when to go on.",
}
BODY_STATUSES = ["400", "413", "415"]
IDEMPOTENCY_STATUSES = ["409", "422"]


class BearerToken(OpenApiAuthenticationExtension):
    """``Authorization: Bearer TOKEN``."""

    target_class = "ragsite.accounts.authentication.ApiTokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "An API token, made at /settings/tokens/."}


def add_problems(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """drf-spectacular's postprocessing hook: give every operation the errors that it can answer."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM_SCHEMA
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            for status in _statuses(path, method, operation):
                operation["responses"].setdefault(status, _problem_response(status))
    return result


def _statuses(path: str, method: str, operation: dict[str, Any]) -> list[str]:
    parameters = {(parameter["in"], parameter["name"]) for parameter in operation.get("parameters", [])}
    statuses = ["401", "403", "429"]
    if "{" in path:
        statuses.append("404")
    if method in {"post", "put", "patch"}:
        statuses += BODY_STATUSES
    elif any(place == "query" for place, _ in parameters):
        statuses.append("400")
    if ("header", "Idempotency-Key") in parameters:
        statuses += IDEMPOTENCY_STATUSES
    return sorted(statuses)


def _problem_response(status: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": DESCRIPTIONS[status], "content": {"application/problem+json": {"schema": schema}}}
