#!/bin/sh
# Put what builds and runs the image within reach of the tests: buildah, a runtime for
# containers, and two small Debians, all from Debian's packages and in .tools: an image
# to begin with, and one with dpkg to install a package into.
# The tests need root to use them, as containers do; nothing here is installed.
set -eu

libraries='libgpgme11 libassuan0 libgpg-error0 libsubid4 libdevmapper1.02.1 libseccomp2'

cd "$(dirname "$0")/.."
mkdir -p .tools/bin
tools=$(cd .tools && pwd -P)

say() {
    echo "tests/containers.sh: $*" >&2
}

# Debian's buildah wants libraries that few machines have. It starts itself anew from
# memory and with an empty environment: only a path in the program itself is left to it.
provide_buildah() {
    folders=
    for package in $libraries; do
        for folder in "$tools/$package"/usr/lib/*-linux-gnu* "$tools/$package"/lib/*-linux-gnu*; do
            [ ! -d "$folder" ] || folders=$folders:$folder
        done
    done
    "$tools/patchelf/usr/bin/patchelf" --force-rpath --set-rpath "${folders#:}" \
        "$tools/buildah/usr/bin/buildah"
    ln -sf ../buildah/usr/bin/buildah "$tools/bin/buildah"
}

# Make a small Debian of a variant and these packages, as an archive of files.
make_debian() {
    say "making a small Debian in .tools: $1"
    archive=$tools/$1 variant=$2 packages=$3
    # apt looks at keys as a user of its own, who may not look into this folder.
    keys=$(mktemp -d)
    trap 'rm -rf "$keys"' EXIT
    chmod 755 "$keys"
    cp "$tools"/debian-archive-keyring/usr/share/keyrings/* "$keys"
    "$tools/mmdebstrap/usr/bin/mmdebstrap" --quiet --mode=root --variant="$variant" \
        --keyring="$keys" \
        --hook-dir="$tools/mmdebstrap/usr/share/mmdebstrap/hooks/merged-usr" \
        --include="$packages" --format=tar bookworm "$archive.part" >"$archive.log" 2>&1 ||
        { cat >&2 "$archive.log"; return 1; }
    mv "$archive.part" "$archive"
}

works() {
    "$1" --version >/dev/null 2>&1
}

missing() {
    say "$*"
    if [ "${CI:-}" = true ]; then
        say "with CI=true that is a failure"
        exit 1
    fi
    say "the tests of the image and of the Debian package are skipped"
    exit 0
}

PATH=$tools/bin:$PATH
[ "$(id -u)" -eq 0 ] || missing "only root can build and run an image here"
if ! works buildah || ! works runc || [ ! -e "$tools/base.tar" ] || [ ! -e "$tools/debian.tar" ]; then
    # shellcheck disable=SC2086  # a list
    tests/tools.sh buildah $libraries patchelf runc mmdebstrap debian-archive-keyring ||
        missing "Debian's packages cannot be fetched"
    works buildah || provide_buildah
    works runc || ln -sf ../runc/usr/sbin/runc "$tools/bin/runc"
    # The smallest in which Python can make a virtual environment: it stands for the base
    # image, where no registry of images can be reached.
    [ -e "$tools/base.tar" ] || make_debian base.tar extract \
        base-files,dash,coreutils,python3-minimal,libpython3-stdlib,python3.11-venv ||
        missing "no base image could be made"
    [ -e "$tools/debian.tar" ] || make_debian debian.tar essential python3 ||
        missing "no Debian could be made"
    works buildah || missing "buildah does not run here: install it"
    works runc || missing "runc does not run here: install it"
fi
