# The image of the resource: docker build -t pool-resource .
#
# From scratch, with what the programs need and nothing else: no shell, no package manager, no git. The programs are
# linked dynamically and get the C library of the builder along. A static one would look up host names by a library that
# it opens at run time, and that has to be of its very version; musl would need another toolchain.

ARG BUILDER=rust:1.95.0-slim-bookworm
FROM ${BUILDER} AS builder
WORKDIR /build
COPY . .
# All programs in one, which is four of them in a third of the size; see cmd/all.
RUN cargo build --profile image --locked --features all --bin all
# The whole root of the image, so that the last stage is a single layer.
RUN set -eu; \
    root=/image; \
    mkdir -p $root/opt/resource $root/usr/local/bin $root/etc/ssl/certs $root/root $root/usr/share/licenses; \
    cp target/image/all $root/usr/local/bin/pool; \
    for name in check in out; do ln -s ../../usr/local/bin/pool $root/opt/resource/$name; done; \
    # The loader and the libraries that it finds, each under the path by which it is asked for. Files and DNS, which the
    # names of hosts and users come from, are in libc itself.
    ldd $root/usr/local/bin/pool | grep -oE '/[^ ]+' | sort -u \
      | while read -r library; do mkdir -p "$root${library%/*}"; cp -L "$library" "$root$library"; done; \
    cp -L /etc/ssl/certs/ca-certificates.crt $root/etc/ssl/certs/; \
    echo 'hosts: files dns' > $root/etc/nsswitch.conf; \
    printf '%s\n' 'root:x:0:0:root:/root:/sbin/nologin' 'nobody:x:65534:65534:nobody:/:/sbin/nologin' > $root/etc/passwd; \
    printf '%s\n' 'root:x:0:' 'nogroup:x:65534:' > $root/etc/group; \
    cp LICENSE $root/usr/share/licenses/pool-resource; \
    for package in libc6 libgcc-s1 ca-certificates; do \
      cp -L /usr/share/doc/$package/copyright $root/usr/share/licenses/$package; \
    done; \
    chmod 0700 $root/root; \
    # For TMPDIR: writable for every user, also where the rest is read-only.
    mkdir -m 1777 $root/tmp

FROM scratch
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
