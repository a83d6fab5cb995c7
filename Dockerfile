# A worker, a gateway, and the memostream command. The broker and the database run elsewhere: docker-compose.yml, docs/how-to/deploy.md.
# For linux/amd64: two dependencies have no wheels for linux/arm64, and nothing is compiled here.

# The minor version's tag: it is rebuilt with the security fixes of Python and Debian.
FROM python:3.13-slim-trixie AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /src

# Before the code, so that a change of code does not install them again.
COPY requirements-worker.txt ./
RUN python -m venv --without-pip /opt/memostream \
    && python -m pip --python /opt/memostream install --only-binary=:all: --require-hashes -r requirements-worker.txt

# tiktoken downloads its vocabulary at its first use; a worker may not be let out, and starts sooner with it.
# Where the build is not let out either: --build-arg VOCABULARY=no, and set MEMOSTREAM_BUFFER__TOKENIZER=estimate.
ARG VOCABULARY=yes
RUN mkdir -p /opt/memostream/share/tiktoken \
    && if [ "$VOCABULARY" = yes ]; then \
         TIKTOKEN_CACHE_DIR=/opt/memostream/share/tiktoken \
         /opt/memostream/bin/python -c "import tiktoken; tiktoken.get_encoding('o200k_base')"; \
       fi

COPY . .
# What builds the package is in the lock file and not in the image.
RUN python -m pip --python /opt/memostream install --no-deps --no-build-isolation . \
    && python -m pip --python /opt/memostream uninstall --yes setuptools


FROM python:3.13-slim-trixie

LABEL org.opencontainers.image.title="memostream" \
      org.opencontainers.image.description="Long-term memory for LLM applications, as a stream processor on Kafka" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"

# The number is fixed, for volumes that outlive a container and for clusters that want one. Nothing is written but below
# /var/lib/memostream, and there only with buffer.store: rocksdb.
RUN groupadd --gid 10001 memostream \
    && useradd --uid 10001 --gid 10001 --no-log-init --home-dir /var/lib/memostream --create-home memostream \
    && mkdir /etc/memostream

COPY --from=build /opt/memostream /opt/memostream

# The linter takes TIKTOKEN_CACHE_DIR for a token; it is a folder.
# hadolint ignore=DL3064
ENV PATH=/opt/memostream/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TIKTOKEN_CACHE_DIR=/opt/memostream/share/tiktoken \
    MEMOSTREAM_BUFFER__DATA_DIR=/var/lib/memostream \
    MEMOSTREAM_WORKER__HEALTH_HOST=0.0.0.0 \
    MEMOSTREAM_WORKER__HEALTH_PORT=8081 \
    MEMOSTREAM_WORKER__INTERNAL_HOST=0.0.0.0 \
    MEMOSTREAM_WORKER__INTERNAL_PORT=8082 \
    MEMOSTREAM_API__HOST=0.0.0.0 \
    MEMOSTREAM_API__PORT=8019

# config.yaml is read from here if there is one.
WORKDIR /etc/memostream
USER 10001:10001
# Probes and gateways' questions of a worker; the gateway.
EXPOSE 8081 8082 8019

# Is it alive, not: is the broker there. Of a worker; a gateway is asked at its own port. An engine that replaces unhealthy containers would make an outage worse.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --start-interval=2s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; probe = http.client.HTTPConnection('127.0.0.1', int(os.environ['MEMOSTREAM_WORKER__HEALTH_PORT']), timeout=4); probe.request('GET', '/livez'); sys.exit(probe.getresponse().status != 200)"]

# No shell in between: SIGTERM reaches the worker, which hands back what is not finished and leaves its groups.
STOPSIGNAL SIGTERM
ENTRYPOINT ["memostream"]
CMD ["worker"]
