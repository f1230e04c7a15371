"""/api/v1/…"""

from django.urls import path

from documents import api

urlpatterns = [
    path("collections", api.CollectionListView.as_view(), name="api-collections"),
    path("collections/<uuid:pk>", api.CollectionView.as_view(), name="api-collection"),
    path("documents", api.DocumentListView.as_view(), name="api-documents"),
    path("documents/<uuid:pk>", api.DocumentView.as_view(), name="api-document"),
    path("documents/<uuid:pk>/retry", api.RetryView.as_view(), name="api-document-retry"),
    path("documents/<uuid:pk>/reprocess", api.ReprocessView.as_view(), name="api-document-reprocess"),
    path("documents/<uuid:pk>/text", api.TextView.as_view(), name="api-document-text"),
    path("documents/<uuid:pk>/file", api.FileView.as_view(), name="api-document-file"),
    path("documents/<uuid:pk>/pages/<int:number>", api.PageView.as_view(), name="api-document-page"),
    path("documents/<uuid:pk>/pages/<int:number>/boxes", api.BoxesView.as_view(), name="api-document-boxes"),
    path("documents/<uuid:document>/chunks", api.ChunkListView.as_view(), name="api-document-chunks"),
    path("search", api.SearchView.as_view(), name="api-search"),
]
