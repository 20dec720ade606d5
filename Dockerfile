FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
# The dependencies in a layer of their own: it changes only with the manifest.
COPY Cargo.toml Cargo.lock build.rs ./
COPY proto proto
COPY templates templates
RUN mkdir -p src benches/side_by_side \
 && echo 'fn main() {}' | tee src/main.rs benches/redirect_rule.rs benches/rate_limit.rs >benches/side_by_side/main.rs \
 && touch src/lib.rs
# Linked statically, so the image needs no libc. A named target keeps build scripts out of that.
ENV RUSTFLAGS="-C target-feature=+crt-static"
RUN cargo build --profile dist --locked --target "$(rustc -vV | sed -n 's/^host: //p')"
COPY src src
RUN touch src/main.rs src/lib.rs \
 && cargo build --profile dist --locked --target "$(rustc -vV | sed -n 's/^host: //p')" \
 && cp target/*-unknown-linux-gnu/dist/weir /weir \
 && strip /weir \
 && mkdir /data

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="weir" \
      org.opencontainers.image.description="A video traffic router: nine calls in ten to the CDN, every tenth to the origin" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /weir /weir
# Where a database of SQLite may be: the owner is kept when a volume is mounted there first.
COPY --from=build --chown=65532:65532 /data /var/lib/weir
USER 65532:65532
EXPOSE 50051 8404
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=2s CMD ["/weir", "healthcheck"]
ENTRYPOINT ["/weir"]
