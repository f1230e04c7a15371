"""The Celery application."""

import os

from celery import Celery

from ragsite.heartbeat import Heartbeat

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ragsite.settings")
app = Celery("ragsite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["worker"].add(Heartbeat)
