from django.apps import AppConfig


class BackupConfig(AppConfig):
    """`manage.py backup` and `manage.py restore`: database, files and secrets as they were at one moment."""

    name = "ragsite.backup"
    label = "backup"
