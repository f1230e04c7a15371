"""People and tokens in the admin."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest

from ragsite.accounts.models import ApiToken, User
from ragsite.accounts.services import activate_users, announce_deactivation, deactivate_users
from ragsite.admin_paging import BigTableAdmin


@admin.register(User)
class UserAdmin(BigTableAdmin, DjangoUserAdmin):
    """People. They are deactivated, not deleted: deleting would take a user's documents and answers along in one go."""

    list_display = ("username", "email", "is_active", "is_staff", "date_joined", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser")
    search_fields = ("username", "email")
    ordering = ("-date_joined", "-id")
    actions = ("deactivate", "activate")

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and "is_active" in form.changed_data and not obj.is_active:
            announce_deactivation(user=obj)

    @admin.action(description="Deactivate: end sessions, tokens and running answers", permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        count = deactivate_users(users=queryset.exclude(pk=request.user.pk or 0))
        self.message_user(request, f"{count} deactivated. You cannot deactivate yourself.", messages.SUCCESS)

    @admin.action(description="Activate", permissions=["change"])
    def activate(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self.message_user(request, f"{activate_users(users=queryset)} activated.", messages.SUCCESS)


@admin.register(ApiToken)
class ApiTokenAdmin(BigTableAdmin):
    """Tokens, to look at and to revoke. Their secrets are not here: nobody has them."""

    list_display = ("name", "hint", "owner", "scopes", "state", "created_at", "last_used_at", "expires_at")
    list_select_related = ("owner",)
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    search_fields = ("name", "=hint", "owner__username")
    ordering = ("-id",)
    fields = readonly_fields = (
        "name",
        "hint",
        "owner",
        "scopes",
        "state",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
    )
    actions = ("revoke",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return False

    @admin.action(description="Revoke", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        for token in queryset.filter(revoked_at=None):
            token.revoke()
        self.message_user(request, "The tokens no longer work.", messages.SUCCESS)
