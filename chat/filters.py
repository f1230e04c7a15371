"""What the list of conversations can be narrowed by."""

import django_filters

from chat.models import Conversation
from chat.querysets import ConversationQuerySet
from chat.searching import searched


class ConversationFilter(django_filters.FilterSet):
    archived = django_filters.BooleanFilter(
        method="by_archived", label="Only archived ones (true), or only the others (false, the default)."
    )
    pinned = django_filters.BooleanFilter()
    search = django_filters.CharFilter(
        method="by_words",
        label="All words, in the title or in one message; each may be unfinished. A page may hold fewer than asked "
        "for, even none, while `next` leads on.",
    )

    class Meta:
        model = Conversation
        fields = ("archived", "pinned", "search")

    def filter_queryset(self, queryset: ConversationQuerySet) -> ConversationQuerySet:
        if self.form.cleaned_data["archived"] is None and not self.form.cleaned_data["search"]:
            queryset = queryset.archived(False)
        return super().filter_queryset(queryset)

    def by_archived(self, queryset: ConversationQuerySet, _name: str, value: bool) -> ConversationQuerySet:
        return queryset.archived(value)

    def by_words(self, queryset: ConversationQuerySet, _name: str, value: str) -> ConversationQuerySet:
        return searched(queryset, self.request.user, value)
