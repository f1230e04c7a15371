"""Forms of the library's pages."""

from typing import Any

from django import forms
from django.db.models.functions import Lower

from documents.models import Collection, Document
from ragsite.accounts.models import User


class CollectionForm(forms.ModelForm):
    """A collection's name, and what a language model is told when it is asked."""

    class Meta:
        model = Collection
        fields = ("name", "instructions")
        widgets = {
            "name": forms.TextInput(attrs={"autofocus": True, "autocomplete": "off"}),
            "instructions": forms.Textarea(
                attrs={"rows": 4, "placeholder": "Answer in formal German. You are the help desk of the HR department."}
            ),
        }

    def clean_name(self) -> str:
        name = self.cleaned_data["name"]
        others = Collection.objects.filter(owner=self.instance.owner_id).exclude(pk=self.instance.pk)
        if others.filter(name__iexact=name).exists():
            raise forms.ValidationError("You have a collection of this name already.")
        return name


def _collections_of(user: User) -> forms.ModelMultipleChoiceField:
    """Some of a person's collections, to be ticked."""
    mine = Collection.objects.for_user(user).order_by(Lower("name"), "id")
    return forms.ModelMultipleChoiceField(mine, required=False, widget=forms.CheckboxSelectMultiple)


class DocumentForm(forms.Form):
    """What a person can change of a document."""

    filename = forms.CharField(max_length=255, label="Name", widget=forms.TextInput(attrs={"autocomplete": "off"}))

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["collections"] = _collections_of(user)


class SelectionForm(forms.Form):
    """Documents that were ticked in the list, and the collections to put them into."""

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["documents"] = forms.ModelMultipleChoiceField(Document.objects.for_user(user))
        self.fields["collections"] = _collections_of(user)
