"""Pages below /settings/."""

from django.urls import path

from ragsite.accounts import views

urlpatterns = [
    path("tokens/", views.tokens, name="tokens"),
    path("tokens/<uuid:pk>/revoke/", views.revoke_token, name="revoke-token"),
]
