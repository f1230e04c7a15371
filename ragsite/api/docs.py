"""The page to try the API."""

from drf_spectacular.views import SpectacularSwaggerSplitView


class SwaggerView(SpectacularSwaggerSplitView):
    """Swagger UI from the sidecar package, without inline script or style: the site's policy holds here too."""

    url_name = "schema"
    template_name = "api/swagger.html"
