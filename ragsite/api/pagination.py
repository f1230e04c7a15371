"""Lists of the API: ``{results, next, previous}``, paged by keyset."""

from typing import TYPE_CHECKING, Any

from django.db.models import QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

from ragsite.api.keyset import InvalidCursor, Ordering, Page, keyset_page
from ragsite.api.problems import Problem

if TYPE_CHECKING:
    from rest_framework.views import APIView  # at run time a circle: DRF's views load this module


class KeysetPagination(BasePagination):
    """``?cursor=&page_size=&ordering=``.

    The view names what it can be ordered by, the default first:
    ``keyset_orderings = {"-uploaded_at": ("-uploaded_at", "-id"), "filename": (Lower("filename"), "id")}``.
    """

    default_page_size = 25
    max_page_size = 100

    def paginate_queryset(  # type: ignore[override]  # a list cannot be paged by keyset
        self, queryset: QuerySet[Any], request: Request, view: "APIView | None" = None
    ) -> list[Any]:
        self.request = request
        ordering = self._ordering(request, view)
        try:
            self.page: Page = keyset_page(
                queryset, ordering, request.query_params.get("cursor"), self._page_size(request)
            )
        except InvalidCursor as error:
            raise Problem(400, "invalid_cursor", str(error)) from error
        return self.page.items

    def get_paginated_response(self, data: Any) -> Response:
        return Response(
            {
                "results": data,
                "next": self._link(self.page.next_cursor),
                "previous": self._link(self.page.previous_cursor),
            }
        )

    def _link(self, cursor: str | None) -> str | None:
        url = self.request.build_absolute_uri()
        return replace_query_param(remove_query_param(url, "cursor"), "cursor", cursor) if cursor else None

    def _page_size(self, request: Request) -> int:
        raw = request.query_params.get("page_size", str(self.default_page_size))
        size = int(raw) if raw.isdecimal() and len(raw) < 10 else 0
        if size < 1:
            raise invalid_parameter("page_size", "A whole number from 1 to 100.")
        return min(size, self.max_page_size)

    def _ordering(self, request: Request, view: "APIView | None") -> Ordering:
        orderings: dict[str, Ordering] = view.keyset_orderings  # type: ignore[union-attr]
        name = request.query_params.get("ordering") or next(iter(orderings))
        if name not in orderings:
            raise invalid_parameter("ordering", f"One of: {', '.join(orderings)}.")
        return orderings[name]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["results", "next", "previous"],
            "properties": {"results": schema, "next": link, "previous": link},
        }

    def get_schema_operation_parameters(self, view: "APIView") -> list[dict[str, Any]]:
        """The query parameters, for OpenAPI."""
        orderings = list(getattr(view, "keyset_orderings", {}))
        parameters = [
            ("cursor", "From `next` or `previous` of a page before.", {"type": "string"}),
            ("page_size", "At most 100.", {"type": "integer", "minimum": 1, "default": self.default_page_size}),
        ]
        if orderings:
            schema = {"type": "string", "enum": orderings, "default": orderings[0]}
            parameters.append(("ordering", "What the list is sorted by.", schema))
        return [
            {"name": name, "in": "query", "required": False, "description": text, "schema": schema}
            for name, text, schema in parameters
        ]


def invalid_parameter(name: str, message: str) -> Problem:
    """400 for one query parameter."""
    return Problem(400, "invalid", f"{name}: {message}", {name: [message]})
