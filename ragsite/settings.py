"""Every setting of the site, read from the environment (docs/settings.md lists them)."""

import os
import sys
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from ragsite import redis_servers, routes
from ragsite.databases import database_from_url, replicas_from_urls
from ragsite.environment import SettingsEnv, read_dotenv
from ragsite.files import storage_from_url
from ragsite.language_models import named_models
from ragsite.layout import PROJECT_DIR, Layout
from ragsite.profiling import is_recorded

read_dotenv()
env = SettingsEnv()
LAYOUT = Layout.from_environment()
LAYOUT.create()
TESTING = "pytest" in sys.modules

# --- Where the site is ------------------------------------------------------------------------------------------------
DEBUG = env.bool("RAGSITE_DEBUG", default=False)
RAGSITE_HOST = env("RAGSITE_HOST", default="127.0.0.1")
RAGSITE_PORT = env.int("RAGSITE_PORT", default=8000)
RAGSITE_URL = env("RAGSITE_URL", default="")
PRODUCTION = RAGSITE_URL.startswith("https://")
RAGSITE_ALLOW_HTTP = env.bool("RAGSITE_ALLOW_HTTP", default=False)
RAGSITE_TRUSTED_PROXIES = env.int("RAGSITE_TRUSTED_PROXIES", default=1 if PRODUCTION else 0)
SECRET_KEY = env("RAGSITE_SECRET_KEY", default="") or LAYOUT.secret("secret_key")
ALLOWED_HOSTS = env.list("RAGSITE_ALLOWED_HOSTS", default=[]) or [
    "localhost",
    "127.0.0.1",
    "[::1]",
    *filter(None, [urlsplit(RAGSITE_URL).hostname]),
]
CSRF_FAILURE_VIEW = "ragsite.api.problems.csrf_failure"
CSRF_TRUSTED_ORIGINS = [RAGSITE_URL.rstrip("/")] if RAGSITE_URL else []

# --- HTTPS: all on as soon as the public address is an https one -----------------------------------------------------
SECURE_SSL_REDIRECT = PRODUCTION
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PRODUCTION else None
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = PRODUCTION
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
SESSION_COOKIE_HTTPONLY = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# --- Applications -----------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "ragsite.accounts",
    "ragsite.caching",
    "ragsite.backup",
    "ragsite",
    "ragsite.service_level",
    "documents",
    "processing",
    "chat",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "allauth",
    "allauth.account",
    "django_htmx",
    "csp",
]
MIDDLEWARE = [
    "ragsite.metrics.middleware.MonitoringMiddleware",
    "ragsite.health.HealthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "ragsite.api.middleware.WellFormedInput",
    "ragsite.staticfiles.StaticFilesOfAnyRelease",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "ragsite.api.uploads.BoundedBody",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
RAGSITE_SILK = env.bool("RAGSITE_SILK", default=False)
if RAGSITE_SILK:  # off unless switched on: it costs time on every request and keeps what users send
    INSTALLED_APPS.append("silk")
    MIDDLEWARE.insert(5, "silk.middleware.SilkyMiddleware")
    SILKY_AUTHENTICATION = SILKY_AUTHORISATION = True  # staff only, which is silk's default
    SILKY_MAX_RECORDED_REQUESTS = 10_000
    SILKY_MAX_REQUEST_BODY_SIZE = SILKY_MAX_RESPONSE_BODY_SIZE = 0
    SILKY_SENSITIVE_KEYS = {"token", "key", "secret", "password", "csrf", "session", "x-csrftoken", "idempotency-key"}
    SILKY_ANALYZE_QUERIES = False  # it would execute every update twice
    SILKY_INTERCEPT_FUNC = is_recorded
    RAGSITE_SILK_PERCENT = env.float("RAGSITE_SILK_PERCENT", default=1)
ROOT_URLCONF = "ragsite.urls"
WSGI_APPLICATION = "ragsite.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [PROJECT_DIR / "ragsite" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "ragsite.accounts.context.site",
            ]
        },
    }
]

# --- Data -------------------------------------------------------------------------------------------------------------
DATABASE_POOL = env.int("RAGSITE_DATABASE_POOL", default=0)
DATABASE_DIRECT_URL = env("DATABASE_DIRECT_URL", default="")  # for commands that keep state in their session
DATABASES = {"default": database_from_url(env("DATABASE_URL", default="") or LAYOUT.database_url, DATABASE_POOL)}
REPLICA_DATABASES = replicas_from_urls(env("DATABASE_REPLICA_URLS", default=""), DATABASES["default"], DATABASE_POOL)
REPLICAS = list(REPLICA_DATABASES)
if REPLICAS:
    DATABASES |= REPLICA_DATABASES
    DATABASE_ROUTERS = ["ragsite.replicas.routing.ReplicaRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = env("REDIS_URL", default="") or LAYOUT.redis_url
CACHE_URL = env("CACHE_URL", default="") or REDIS_URL
STREAMS_URL = env("STREAMS_URL", default="") or REDIS_URL
CACHES = {
    "default": {
        "BACKEND": "ragsite.redis_cache.ForgivingRedisCache",
        "LOCATION": redis_servers.cache_location(CACHE_URL),
        "KEY_PREFIX": env("RAGSITE_CACHE_PREFIX", default="ragsite"),
        "OPTIONS": {
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",  # nothing in the cache is pickled
            "IGNORE_EXCEPTIONS": True,
            "SOCKET_CONNECT_TIMEOUT": 1,
            "SOCKET_TIMEOUT": 2,
            **redis_servers.cache_options(CACHE_URL),
        },
    }
}
CACHES_OFF = set(env.list("RAGSITE_CACHES_OFF", default=[]))  # names of keyspaces (docs/caching-strategy.md), or all
if not env.bool("RAGSITE_ANSWER_CACHE", default=True):
    CACHES_OFF.add("answers")
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
LOCAL_STORAGE = {
    "BACKEND": "django.core.files.storage.FileSystemStorage",
    "OPTIONS": {"location": LAYOUT.files_dir, "file_permissions_mode": 0o600, "directory_permissions_mode": 0o700},
}
STORAGES = {
    "default": storage_from_url(env("RAGSITE_STORAGE_URL", default=""), LOCAL_STORAGE),
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if TESTING or DEBUG
        else "ragsite.staticfiles.ModuleManifestStorage"
    },
}
STATIC_URL = "/static/"
STATIC_ROOT = LAYOUT.static_dir
STATICFILES_DIRS = [PROJECT_DIR / "ragsite" / "static"]
RAGSITE_MAX_UPLOAD_MB = env.int("RAGSITE_MAX_UPLOAD_MB", default=500)
FILE_UPLOAD_HANDLERS = ["ragsite.api.uploads.BoundedUploadHandler"]
FILE_UPLOAD_TEMP_DIR = LAYOUT.uploads_dir
DATA_UPLOAD_MAX_NUMBER_FILES = 1000
IMPORT_NETWORKS = [ip_network(network) for network in env.list("RAGSITE_IMPORT_NETWORKS", default=[])]
IMPORT_PORTS = [int(port) for port in env.list("RAGSITE_IMPORT_PORTS", default=["80", "443"])]
IMPORT_SECONDS = env.int("RAGSITE_IMPORT_SECONDS", default=120)

# --- Work in the background -------------------------------------------------------------------------------------------
CELERY_BROKER_URL, _broker_options = redis_servers.broker(env("BROKER_URL", default="") or REDIS_URL)
# Which task goes where, and how long it may take, stands in ragsite/routes.py (docs/queues.md).
DOCUMENT_QUEUES = routes.DOCUMENT_QUEUES
CELERY_TASK_QUEUES: dict[str, dict[str, str]] = {queue: {} for queue in routes.QUEUES}
CELERY_TASK_DEFAULT_QUEUE = routes.MAINTENANCE
CELERY_TASK_ROUTES = {name: {"queue": route.queue} for name, route in routes.ROUTES.items()}
CELERY_TASK_ANNOTATIONS = {name: route.limits for name, route in routes.ROUTES.items()}
CELERY_TASK_CREATE_MISSING_QUEUES = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_AUTOSCALER = "processing.scaling:LevelAutoscaler"
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_DB_REUSE_MAX = sys.maxsize  # Celery closes no connections after a task: ragsite.backends.kept does so
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "global_keyprefix": "ragsite:broker:",
    "visibility_timeout": routes.VISIBILITY_SECONDS,
    "socket_connect_timeout": 1,
    "socket_timeout": 15,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "retry_policy": {"max_retries": 1, "interval_start": 0, "interval_max": 0.2},
    **_broker_options,
}
CELERY_TASK_TIME_LIMIT = 1800
CELERY_TASK_SOFT_TIME_LIMIT = 1700
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_max": 0.2}
CELERY_BEAT_SCHEDULE_FILENAME = str(LAYOUT.run_dir / "celerybeat-schedule")  # when each task was last sent
CELERY_BEAT_SCHEDULE = {
    "wake-workers": {"task": "processing.tasks.wake_workers", "schedule": 5, "options": {"expires": 5}},
    "sweep-interrupted-answers": {"task": "chat.tasks.sweep_interrupted", "schedule": 15, "options": {"expires": 15}},
    "run-imports": {"task": "documents.tasks.run_imports", "schedule": 5, "options": {"expires": 5}},
    "renew-vectors": {"task": "processing.tasks.renew_vectors", "schedule": 15, "options": {"expires": 15}},
    "sweep-files": {"task": "documents.tasks.sweep_files", "schedule": 3600, "options": {"expires": 3600}},
    "thin-measurements": {
        "task": "ragsite.service_level.tasks.thin_measurements",
        "schedule": 600,
        "options": {"expires": 600},
    },
    "remove-expired": {"task": "ragsite.tasks.remove_expired", "schedule": 3600, "options": {"expires": 3600}},
    "keep-partitions": {"task": "ragsite.tasks.keep_partitions", "schedule": 3600, "options": {"expires": 3600}},
}
PROCESSING_LEASE_SECONDS = env.int("RAGSITE_LEASE_SECONDS", default=30)
PROCESSING_PLACES = env.int("RAGSITE_WORKERS", default=4)  # as in ragsite.supervisor.site
PROCESSING_MAX_CRASHES = 5
PROCESSING_WAKE_LIMIT = 4

# --- Models -----------------------------------------------------------------------------------------------------------
EMBEDDING_BASE_URL = env("EMBEDDING_BASE_URL", default="")
EMBEDDING_MODEL = env("EMBEDDING_MODEL", default="multilingual-e5-small")
EMBEDDING_API_KEY = env("EMBEDDING_API_KEY", default="")
RERANK_BASE_URL = env("RERANK_BASE_URL", default="")
RERANK_MODEL = env("RERANK_MODEL", default="")
RERANK_API_KEY = env("RERANK_API_KEY", default="")
RERANK_TIMEOUT_SECONDS = env.float("RERANK_TIMEOUT_SECONDS", default=2)
EMBEDDED_PARTS = env.int("RAGSITE_EMBEDDED_PARTS", default=8)  # of a chunk: its sentences; 1: one vector a chunk
LLM_BASE_URL = env("LLM_BASE_URL", default="")
LLM_MODEL = env("LLM_MODEL", default="")
LLM_API_KEY = env("LLM_API_KEY", default="")
LLM_CONTEXT_TOKENS = env.int("LLM_CONTEXT_TOKENS", default=0)  # 0: what the model's server says
LLM_MAX_TOKENS = env.int("LLM_MAX_TOKENS", default=1024)
LLM_TIMEOUT_SECONDS = env.float("LLM_TIMEOUT_SECONDS", default=60)
LLM_MODELS = named_models(env.list("LLM_MODELS", default=[]), os.environ)  # further ones
ANSWERS_AT_ONCE = env.int("RAGSITE_ANSWERS_AT_ONCE", default=400)  # of one web process; more are told to come again
STREAMS_PER_USER = env.int("RAGSITE_STREAMS_PER_USER", default=100)  # of one web process
WEB_THREADS = env.int("RAGSITE_WEB_THREADS", default=256)  # as in ragsite.gunicorn

# --- People -----------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
RAGSITE_SIGNUP = env.bool("RAGSITE_SIGNUP", default=True)
ACCOUNT_ADAPTER = "ragsite.accounts.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
SENDS_MAIL = bool(env("EMAIL_URL", default=""))
# Not mandatory: people without an address, as the first administrator, could not sign in any more.
ACCOUNT_EMAIL_VERIFICATION = "optional" if SENDS_MAIL else "none"
ACCOUNT_PREVENT_ENUMERATION = "strict"  # an address is taken once it is verified; who only claims it reserves nothing
ACCOUNT_LOGOUT_ON_GET = False
ALLAUTH_TRUSTED_PROXY_COUNT = RAGSITE_TRUSTED_PROXIES
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGOUT_REDIRECT_URL = "/accounts/login/"
EMAIL_CONFIG = env.email_url("EMAIL_URL", default="dummymail://")  # no reset links in the log
vars().update(EMAIL_CONFIG)
DEFAULT_FROM_EMAIL = env("RAGSITE_FROM_EMAIL", default="ragsite@localhost")

# --- REST -------------------------------------------------------------------------------------------------------------
THROTTLE = env("RAGSITE_THROTTLE", default="on") != "off"
ACCOUNT_RATE_LIMITS: dict[str, str] | bool = {} if THROTTLE else False  # {}: allauth's own, of sign-in and reset
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "ragsite.accounts.authentication.ApiTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": [
        "rest_framework.permissions.IsAuthenticated",
        "ragsite.accounts.permissions.TokenHasScope",
    ],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["ragsite.api.parsers.StrictJSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "ragsite.api.negotiation.FallbackNegotiation",
    "DEFAULT_PAGINATION_CLASS": "ragsite.api.pagination.KeysetPagination",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["ragsite.api.throttling.UserThrottle", "ragsite.api.throttling.AnonymousThrottle"]
    if THROTTLE
    else [],
    "DEFAULT_THROTTLE_RATES": {
        "user": env("RAGSITE_THROTTLE_USER", default="1200/min"),
        "anonymous": env("RAGSITE_THROTTLE_ANONYMOUS", default="60/min"),
        "failures": env("RAGSITE_THROTTLE_FAILURES", default="120/min"),
        "messages": env("RAGSITE_THROTTLE_MESSAGES", default="60/min"),
        "uploads": env("RAGSITE_THROTTLE_UPLOADS", default="1200/min"),
    },
    "NUM_PROXIES": RAGSITE_TRUSTED_PROXIES,  # how many addresses of X-Forwarded-For are believed, from its end
    "EXCEPTION_HANDLER": "ragsite.api.problems.problem_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "DATETIME_FORMAT": "%Y-%m-%dT%H:%M:%S.%fZ",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "ragsite",
    "DESCRIPTION": "Put documents in, ask them questions, get answers that point at their source.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SORT_OPERATIONS": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "ragsite.api.schema.add_problems",
    ],
    "ENUM_NAME_OVERRIDES": {"DocumentStatusEnum": "documents.models.Document.Status"},
}
IDEMPOTENCY_KEEP = timedelta(hours=24)

TRACE_DAYS = env.int("RAGSITE_TRACE_DAYS", default=90)
if TRACE_DAYS < 0:  # every trace would be old, those of today too
    raise ImproperlyConfigured("RAGSITE_TRACE_DAYS is a number of days, or 0 to keep traces always.")
PARTITIONS_KEPT = {"chat_retrievaltrace": timedelta(days=TRACE_DAYS)} if TRACE_DAYS else {}
"""How long rows of tables that are partitioned by time are kept; of others always."""

# --- Pages ------------------------------------------------------------------------------------------------------------
CONTENT_SECURITY_POLICY = {
    "EXCLUDE_URL_PREFIXES": ["/silk/"],  # silk's pages, for staff and only when switched on, have inline scripts
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "manifest-src": ["'self'"],
    },
}
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = USE_TZ = True
LOG_FORMAT = env("RAGSITE_LOG_FORMAT", default="line")
METRICS_TOKEN = env("RAGSITE_METRICS_TOKEN", default="")
METRICS_PORT = env.int("RAGSITE_METRICS_PORT", default=0)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "ragsite.logs.JsonLines"}
        if LOG_FORMAT == "json"
        else {"format": "%(levelname)s %(name)s: %(message)s"}
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env("RAGSITE_LOG_LEVEL", default="INFO")},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
    },
}
SILENCED_SYSTEM_CHECKS: list[str] = []
BASE_DIR: Path = PROJECT_DIR
