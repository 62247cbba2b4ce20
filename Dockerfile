# Two images:
#   docker build --target pool -t pool-resource .   the resource, for Concourse: from nothing, with the static program and the
#                                                   little that it reads; no shell, no package manager, no C library, no git
#   docker build --target tools -t ci-tools .       all programs, for jobs of a CI: that, and the shell and tools of busybox

ARG BUILDER=rust:1.95.0-slim-bookworm
FROM ${BUILDER} AS builder
WORKDIR /build
COPY . .
# All programs in one, which is four of them in a third of the size; see cmd/all. The archives of ci/release have the same.
RUN cargo build --locked --config ci/static.toml --profile image --no-default-features --features all --bin all
# The whole root of the image, so that the last stage is a single layer.
RUN set -eu; \
    root=/image; \
    mkdir -p $root/opt/resource $root/usr/local/bin $root/etc/ssl/certs $root/root $root/usr/share/licenses; \
    cp "target/$(rustc --print host-tuple)/image/all" $root/usr/local/bin/pool; \
    for name in check in out; do ln -s ../../usr/local/bin/pool $root/opt/resource/$name; done; \
    cp -L /etc/ssl/certs/ca-certificates.crt $root/etc/ssl/certs/; \
    printf '%s\n' 'root:x:0:0:root:/root:/sbin/nologin' 'nobody:x:65534:65534:nobody:/:/sbin/nologin' > $root/etc/passwd; \
    printf '%s\n' 'root:x:0:' 'nogroup:x:65534:' > $root/etc/group; \
    cp LICENSE $root/usr/share/licenses/pool-resource; \
    ci/licences pool > $root/usr/share/licenses/crates; \
    # The C library is in the program.
    for package in libc6 libgcc-s1 ca-certificates; do \
      cp -L /usr/share/doc/$package/copyright $root/usr/share/licenses/$package; \
    done; \
    cp -L /usr/share/common-licenses/LGPL-2.1 $root/usr/share/licenses/; \
    chmod 0700 $root/root; \
    # For TMPDIR: writable for every user, also where the rest is read-only.
    mkdir -m 1777 $root/tmp

FROM builder AS tools-builder
RUN cargo build --locked --config ci/static.toml --profile image --features all --bin all
RUN set -eu; \
    root=/image; \
    cp "target/$(rustc --print host-tuple)/image/all" $root/usr/local/bin/pool; \
    # By a link it is another program.
    for name in gitlab-job-guard cicdstatemgr prunner heptapod-paas-runner heptapod-paas-runner-register; do ln -s pool $root/usr/local/bin/$name; done; \
    ci/licences tools > $root/usr/share/licenses/crates; \
    # The base may have it.
    type busybox > /dev/null || { apt-get -q update && apt-get -q -y install --no-install-recommends busybox-static; }; \
    mkdir $root/bin; \
    cp "$(command -v busybox)" $root/bin/busybox; \
    for name in $(busybox --list); do [ "$name" = busybox ] || ln -s busybox "$root/bin/$name"; done; \
    cp -L /usr/share/doc/busybox-static/copyright $root/usr/share/licenses/busybox; \
    cp -L /usr/share/common-licenses/GPL-2 $root/usr/share/licenses/; \
    # Where scripts begin, and where jobs look for what they call.
    mkdir -p $root/usr/bin; ln -s /bin/env $root/usr/bin/env; \
    sed -i 's,/sbin/nologin,/bin/sh,' $root/etc/passwd

FROM scratch AS tools
ARG SOURCE=
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="ci-tools" \
      org.opencontainers.image.description="Coordination for CI with nothing but a Git server: locks, one pipeline at a time, pipelines of tasks" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-only"
COPY --from=tools-builder /image/ /
ENV PATH=/usr/local/bin:/usr/bin:/bin
CMD ["sh"]

# Last, so that it is what is built if no target is said.
FROM scratch AS pool
ARG SOURCE=
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="pool-resource" \
      org.opencontainers.image.description="A pool of locks in a Git repository, for Concourse CI and everyone else" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=builder /image/ /
ENV PATH=/usr/local/bin
CMD ["pool", "--help"]
