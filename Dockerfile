# The exporter in an image of its own, for amd64 and arm64:
#
#   docker build --tag onapp-backup-exporter .
#
# BASE can be any image with Python 3.11 or newer and its venv module. Name it by its digest,
# python@sha256:…, to get the same one every time.
ARG BASE=docker.io/library/python:3.13-slim-bookworm

FROM ${BASE} AS build
# Only where the package index has another address or certificate.
ARG PIP_CERT
ARG PIP_INDEX_URL
ARG PIP_DISABLE_PIP_VERSION_CHECK=1
ARG PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
RUN python3 -m venv /tools \
    && /tools/bin/pip install --quiet --require-hashes --only-binary :all: \
        --requirement requirements-build.lock \
    && python3 -m venv --without-pip /opt/onapp-backup-exporter \
    && /tools/bin/pip --python /opt/onapp-backup-exporter/bin/python3 install --quiet \
        --require-hashes --only-binary :all: --requirement requirements.lock
COPY . .
RUN /tools/bin/pip wheel --quiet --no-deps --no-index --no-build-isolation --wheel-dir /wheel . \
    && /tools/bin/pip --python /opt/onapp-backup-exporter/bin/python3 install --quiet \
        --no-deps --no-index /wheel/*.whl

FROM ${BASE}
# The image needs no package installer, because it installs nothing when it runs.
RUN python3 -c 'import pathlib, shutil, sysconfig; \
lib = pathlib.Path(sysconfig.get_path("stdlib")); \
[shutil.rmtree(found) for name in ("ensurepip", "site-packages/pip*", "site-packages/setuptools*") \
    for found in lib.glob(name)]' \
    && rm -f /usr/local/bin/pip*
COPY --from=build /opt/onapp-backup-exporter /opt/onapp-backup-exporter
COPY LICENSE /usr/share/doc/onapp-backup-exporter/
ENV PATH=/opt/onapp-backup-exporter/bin:/usr/local/bin:/usr/bin:/bin
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="onapp-backup-exporter" \
    org.opencontainers.image.description="Prometheus exporter for the backups of OnApp clouds" \
    org.opencontainers.image.url="https://github.com/onapp-backup-exporter/onapp-backup-exporter" \
    org.opencontainers.image.source="https://github.com/onapp-backup-exporter/onapp-backup-exporter" \
    org.opencontainers.image.documentation="https://github.com/onapp-backup-exporter/onapp-backup-exporter/blob/main/docs/install-container.md" \
    org.opencontainers.image.vendor="The onapp-backup-exporter authors" \
    org.opencontainers.image.authors="The onapp-backup-exporter authors" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}"
# The number of `nobody`: Kubernetes needs a number to see that it is not root.
USER 65534:65534
EXPOSE 10058
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s \
    CMD ["onapp-backup-exporter", "healthcheck"]
ENTRYPOINT ["onapp-backup-exporter"]
