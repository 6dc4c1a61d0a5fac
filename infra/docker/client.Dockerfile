# syntax=docker/dockerfile:1
# The browser client and an NGINX that serves it:
#   docker build -f infra/docker/client.Dockerfile -t chatcluster/web .

FROM node:20-bookworm-slim AS client
WORKDIR /src
COPY services/client/package.json services/client/package-lock.json services/client/.npmrc ./
RUN --mount=type=cache,target=/npm npm ci --cache /npm
COPY services/client ./
RUN npm run build

FROM debian:bookworm-slim AS nginx
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates nginx-light \
 && rm -rf /var/lib/apt/lists/*
COPY infra/docker/rootfs /usr/local/bin/
RUN rootfs /usr/sbin/nginx /rootfs /app

# Writes nothing but below /tmp, so the root file system may be read-only.
FROM scratch
COPY --from=nginx /rootfs /
COPY --from=client /src/dist /srv
COPY infra/docker/nginx.conf /etc/nginx/nginx.conf
USER 10001:10001
EXPOSE 3000
STOPSIGNAL SIGQUIT
ENTRYPOINT ["/app", "-e", "stderr", "-c", "/etc/nginx/nginx.conf"]
