# The image that charts/proxyless-demo runs: our packages and examples/, on a slim Python, without a root user.
# docker build -t proxyless-demo:0.1.0 .
# Not built where there is no Docker; what is in it runs as processes there (e2e/cluster/sandbox.py).

ARG PYTHON=3.13-slim-bookworm

FROM rust:1.90-slim-bookworm AS rust

# Rust → wheel → virtual environment. Nothing of the compilers gets into the last stage.
FROM python:${PYTHON} AS build
# No versions: a slim Debian has one of each, and its security fixes are wanted.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY --from=rust /usr/local/rustup /usr/local/rustup
COPY --from=rust /usr/local/cargo /usr/local/cargo
ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:$PATH \
    PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY requirements/image-build.lock requirements/image.lock requirements/
RUN pip install --require-hashes --requirement requirements/image-build.lock \
    && python -m venv --without-pip /venv \
    && pip --python /venv install --require-hashes --requirement requirements/image.lock
COPY . .
RUN maturin build --release --locked --out /wheels \
    && pip --python /venv install --no-deps /wheels/*.whl
WORKDIR /app
COPY examples examples
RUN python -m grpc_tools.protoc -I . --python_out=. --grpc_python_out=. examples/hello/hello.proto \
    && /venv/bin/python -m compileall -q .

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="proxyless-demo" \
      org.opencontainers.image.description="A consumer and a provider that are members of an Istio mesh without sidecars" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /venv /venv
COPY --from=build /app /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
# By number: Kubernetes' runAsNonRoot cannot look a name up.
USER 65532:65532
EXPOSE 9080 9081 8081
CMD ["python", "-m", "examples.cluster.provider"]
