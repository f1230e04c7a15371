"""Where everything is; /healthz and /readyz are answered before (ragsite.health.HealthMiddleware)."""

from allauth.account.decorators import secure_admin_login
from django.conf import settings
from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.utils.functional import lazy
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView

from ragsite.accounts.views import password_reset
from ragsite.api.docs import SwaggerView
from ragsite.caching.pages import caching_page
from ragsite.service_level.pages import service_level

handler400 = "ragsite.api.problems.bad_request"
handler403 = "ragsite.api.problems.permission_denied"
handler404 = "ragsite.api.problems.not_found"
handler500 = "ragsite.api.problems.server_error"

admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]  # Django's counts no failures
admin.site.site_header = admin.site.site_title = "ragsite administration"

api = [
    path("", include("ragsite.accounts.api_urls")),
    path("", include("documents.api_urls")),
    path("", include("chat.api_urls")),
]
urlpatterns = [
    path("favicon.ico", RedirectView.as_view(url=lazy(static, str)("img/favicon.svg"))),  # the admin names none
    path("admin/caching/", admin.site.admin_view(caching_page), name="caching"),
    path("admin/service-level/", admin.site.admin_view(service_level), name="service-level"),
    path("admin/", admin.site.urls),
    path("accounts/password/reset/", password_reset),  # comes before allauth's
    path("accounts/", include("allauth.urls")),
    path("settings/", include("ragsite.accounts.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SwaggerView.as_view(), name="api-docs"),
    path("api/v1/", include(api)),
    path("v1/", include("chat.openai_urls")),
    path("", include("documents.urls")),
    path("", include("chat.urls")),
]
if settings.RAGSITE_SILK:
    urlpatterns.append(path("silk/", include("silk.urls", namespace="silk")))
