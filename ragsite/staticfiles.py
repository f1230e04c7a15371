"""Static files with hashed names, so that browsers may keep them for ever."""

from typing import Any

from whitenoise.compress import Compressor
from whitenoise.storage import CompressedManifestStaticFilesStorage


class ModuleManifestStorage(CompressedManifestStaticFilesStorage):
    """Rewrites the imports between ES modules to the hashed names too."""

    support_js_module_import_aggregation = True

    def create_compressor(self, **options: Any) -> Compressor:
        """By gzip alone: with `brotli`, which Locust brings, the first start takes 30 s of processor time more."""
        return Compressor(**options, use_brotli=False)
