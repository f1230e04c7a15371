"""Pages of documents."""

from django.urls import path

from documents import versions_views, views
from documents.importing import views as importing

urlpatterns = [
    path("library/", views.library, name="library"),
    path("library/upload/", views.upload, name="library-upload"),
    path("library/imports/", importing.imports, name="library-imports"),
    path("library/imports/<uuid:pk>/drop/", importing.drop, name="library-drop-import"),
    path("library/progress/", views.progress, name="library-progress"),
    path("library/retry/", views.retry_all, name="library-retry-all"),
    path("library/selection/delete/", views.delete_selection, name="library-delete-selection"),
    path("library/selection/collect/", views.collect_selection, name="library-collect-selection"),
    path("library/collections/new/", views.edit_collection, name="library-new-collection"),
    path("library/collections/<uuid:pk>/edit/", views.edit_collection, name="library-edit-collection"),
    path("library/collections/<uuid:pk>/delete/", views.delete_collection, name="library-delete-collection"),
    path("library/<uuid:pk>/", views.document, name="library-document"),
    path("library/<uuid:pk>/passage/", views.passage, name="library-passage"),
    path("library/<uuid:pk>/chunks/", views.chunks, name="library-chunks"),
    path("library/<uuid:pk>/edit/", views.edit_document, name="library-edit"),
    path("library/<uuid:pk>/delete/", views.delete_document, name="library-delete"),
    path("library/<uuid:pk>/why/", views.explain, name="library-why"),
    path("library/<uuid:pk>/replace/", versions_views.replace, name="library-replace"),
    path("library/<uuid:pk>/retry/", views.retry, name="library-retry"),
    path("library/<uuid:pk>/reprocess/", views.reprocess, name="library-reprocess"),
]
