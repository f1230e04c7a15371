"""/api/v1/…"""

from django.urls import path

from documents import api, versions_api
from documents.importing import api as importing
from documents.queue import api as queue
from documents.tus import api as tus

urlpatterns = [
    path("collections", api.CollectionListView.as_view(), name="api-collections"),
    path("collections/<uuid:pk>", api.CollectionView.as_view(), name="api-collection"),
    path("documents", api.DocumentListView.as_view(), name="api-documents"),
    path("documents/retry", queue.RetryAllView.as_view(), name="api-documents-retry"),
    path("documents/<uuid:pk>/why", queue.WhyView.as_view(), name="api-document-why"),
    path("queue", queue.QueueView.as_view(), name="api-queue"),
    path("documents/<uuid:pk>", api.DocumentView.as_view(), name="api-document"),
    path("documents/<uuid:pk>/replace", versions_api.ReplaceView.as_view(), name="api-document-replace"),
    path("documents/<uuid:pk>/retry", api.RetryView.as_view(), name="api-document-retry"),
    path("documents/<uuid:pk>/reprocess", api.ReprocessView.as_view(), name="api-document-reprocess"),
    path("documents/<uuid:pk>/text", api.TextView.as_view(), name="api-document-text"),
    path("documents/<uuid:pk>/file", api.FileView.as_view(), name="api-document-file"),
    path("documents/<uuid:pk>/pages/<int:number>", api.PageView.as_view(), name="api-document-page"),
    path("documents/<uuid:pk>/pages/<int:number>/boxes", api.BoxesView.as_view(), name="api-document-boxes"),
    path("documents/<uuid:document>/chunks", api.ChunkListView.as_view(), name="api-document-chunks"),
    path("documents/import", importing.ImportView.as_view(), name="api-import"),
    path("imports", importing.ImportListView.as_view(), name="api-imports"),
    path("imports/<uuid:pk>", importing.ImportDetailView.as_view(), name="api-import-detail"),
    path("imports/<uuid:pk>/items", importing.ImportItemListView.as_view(), name="api-import-items"),
    path("uploads", tus.PartialUploadListView.as_view(), name="api-uploads"),
    path("uploads/<uuid:pk>", tus.PartialUploadView.as_view(), name="api-upload"),
    path("search", api.SearchView.as_view(), name="api-search"),
]
