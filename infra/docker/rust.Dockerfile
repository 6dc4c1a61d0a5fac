# syntax=docker/dockerfile:1
# Every Rust program of the repository, one image each:
#   docker build -f infra/docker/rust.Dockerfile --build-arg BIN=auth -t chatcluster/auth .
# BIN: auth, users, messages, socket-handler, notifications or operator.

FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates cmake make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ARG BIN
ARG PROFILE=dist
# Finished crates stay in the mounts, so only what changed is compiled, and the
# six images share their dependencies. One folder for each kind of machine.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target,sharing=locked \
    target="/target/$(uname -m)" \
 && cargo build --locked --profile "$PROFILE" --bin "$BIN" --target-dir "$target" \
 && infra/docker/rootfs "$target/$PROFILE/$BIN" /rootfs /app

FROM scratch
COPY --from=build /rootfs /
USER 10001:10001
ENTRYPOINT ["/app"]
