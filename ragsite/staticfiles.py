"""Static files with hashed names, so that browsers may keep them for ever."""

import re
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from whitenoise.compress import Compressor
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.storage import CompressedManifestStaticFilesStorage

HASH = re.compile(r"\.[0-9a-f]{12}(?=\.[^/]+$)")


class ModuleManifestStorage(CompressedManifestStaticFilesStorage):
    """Rewrites the imports between ES modules to the hashed names too."""

    support_js_module_import_aggregation = True

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Without hashed ones: what `collectstatic --clear` does not see stays, for the pages and processes of the
        release before, which use it while they last."""
        folders, files = super().listdir(path)
        return folders, [name for name in files if not HASH.search(name)]

    def create_compressor(self, **options: Any) -> Compressor:
        """By gzip alone: with `brotli`, which Locust brings, the first start takes 30 s of processor time more."""
        return Compressor(**options, use_brotli=False)


class StaticFilesOfAnyRelease(WhiteNoiseMiddleware):
    """While a release is rolled out, a page of one node asks another one for files that only the first one has.

    They get the file of that name as it is in this release, which nobody may keep: better than a page without it.
    """

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = super().__call__(request)
        if response.status_code != 404 or not request.path_info.startswith(self.static_prefix):
            return response
        file = self.files.get(HASH.sub("", request.path_info))
        if file is None:
            return response
        response = self.serve(file, request)
        response["Cache-Control"] = "no-store"
        return response
