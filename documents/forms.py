"""Forms of the library's pages."""

from typing import Any

from django import forms
from django.db.models.functions import Lower

from documents.models import Collection, Document
from ragsite.accounts.models import User


class CollectionForm(forms.ModelForm):
    """A collection's name."""

    class Meta:
        model = Collection
        fields = ("name",)
        widgets = {"name": forms.TextInput(attrs={"autofocus": True, "autocomplete": "off"})}

    def clean_name(self) -> str:
        name = self.cleaned_data["name"]
        others = Collection.objects.filter(owner=self.instance.owner_id).exclude(pk=self.instance.pk)
        if others.filter(name__iexact=name).exists():
            raise forms.ValidationError("You have a collection of this name already.")
        return name


class OwnCollectionsField(forms.ModelMultipleChoiceField):
    """Some of a person's collections; ``owned_by`` says whose."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(Collection.objects.none(), required=False, widget=forms.CheckboxSelectMultiple, **kwargs)

    def owned_by(self, user: User) -> None:
        self.queryset = Collection.objects.for_user(user).order_by(Lower("name"), "id")


class DocumentForm(forms.Form):
    """What a person can change of a document."""

    filename = forms.CharField(max_length=255, label="Name", widget=forms.TextInput(attrs={"autocomplete": "off"}))
    collections = OwnCollectionsField()

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["collections"].owned_by(user)


class SelectionForm(forms.Form):
    """Documents that were ticked in the list, and the collections to put them into."""

    documents = forms.ModelMultipleChoiceField(Document.objects.none())
    collections = OwnCollectionsField()

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["documents"].queryset = Document.objects.for_user(user)
        self.fields["collections"].owned_by(user)
