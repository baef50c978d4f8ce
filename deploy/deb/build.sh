#!/bin/sh
# Build the Debian package of an architecture: deploy/deb/build.sh amd64 [FOLDER]
#
# One package goes with every Python that the exporter runs on: compiled modules have
# the version of Python in their names, and lie side by side.
set -eu

case ${1:-} in
amd64) machine=x86_64 ;;
arm64) machine=aarch64 ;;
*)
    echo >&2 "usage: $0 amd64|arm64 [FOLDER]"
    exit 2
    ;;
esac
cd "$(dirname "$0")/../.."
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# Install into one folder, for one version of Python.
install() {
    .venv/bin/python -m uv pip install --quiet --system-certs --no-progress \
        --python-version "$version" --python-platform "$machine-manylinux_2_28" \
        --target "$root/$version" "$@"
}

dist=${2:-dist}
mkdir -p "$root/lib" "$dist"
dist=$(cd "$dist" && pwd)
for version in 3.11 3.12 3.13 3.14; do
    install --require-hashes --only-binary :all: --requirements requirements.lock
    cp -R "$root/$version/." "$root/lib"
done
version=3.11
install --no-deps --build-constraints requirements-build.lock .
cp -R "$root/$version/exporter" "$root/$version"/onapp_backup_exporter-* "$root/lib"
rm -rf "$root/lib/bin" "$root/lib/.lock"

VERSION=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' exporter/__init__.py)
ln -s "$PWD/deploy" "$root"
cp LICENSE "$root"
export ARCH="$1" VERSION
cd "$root"
nfpm package --config deploy/deb/nfpm.yaml --packager deb --target "$dist"
