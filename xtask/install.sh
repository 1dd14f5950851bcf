# What the scripts need of the system, and how it gets there. Sourced by ./run and ./test.
# shellcheck shell=bash

say() { printf '\n==> %s\n' "$*"; }
fail() { printf '\n%s\n' "$*" >&2; exit 1; }

need_rust() {
    command -v cargo >/dev/null && return
    # rustup puts it there, and a shell that is older than the installation does not look there.
    if [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
        return
    fi
    fail "Rust is not installed. https://rustup.rs shows how; on most systems:
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
}

# need_packages PROGRAM=PACKAGE...: installs the packages whose programs are missing.
need_packages() {
    local pair missing=()
    for pair in "$@"; do
        # shellcheck disable=SC2206 # A program may need several packages.
        has "${pair%%=*}" || missing+=(${pair#*=})
    done
    [ ${#missing[@]} -eq 0 ] && return
    local asroot=()
    if [ "$(id -u)" -ne 0 ]; then asroot=(sudo); fi
    if ! command -v apt-get >/dev/null || { [ ${#asroot[@]} -gt 0 ] && ! command -v sudo >/dev/null; }; then
        fail "These are missing, and only apt-get as root is known here: ${missing[*]}
Install them (the names are Debian's) and start again."
    fi
    say "installing ${missing[*]}"
    # The lists of a fresh system are empty or old; only then is the network asked twice.
    apt_install "${missing[@]}" || { "${asroot[@]}" apt-get update && apt_install "${missing[@]}"; } ||
        fail "apt-get could not install: ${missing[*]}"
}

apt_install() {
    "${asroot[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

has() {
    case "$1" in
        # Debian keeps these two apart from python3.
        venv) python3 -c 'import venv, ensurepip' 2>/dev/null ;;
        # The headers that a C compiler needs for anything at all.
        libc) [ -e /usr/include/stdio.h ] ;;
        # Not in everybody's PATH.
        nginx | dnsmasq | slapd) command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] ;;
        # Debian keeps the server's programs beside the versions that there are.
        postgres) compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

# What the dependencies written in C (the crypto library and the allocator) are built with.
need_c() {
    need_packages gcc=gcc make=make libc=libc6-dev
    case "$(uname -m)" in
        x86_64 | aarch64 | arm64) ;;
        # Only for these two processors is the crypto library built without it.
        *) need_packages cmake=cmake g++=g++ ;;
    esac
}

# The identity provider that the tests ask for tokens: $idp, in $target.
need_idp() {
    need_packages node=nodejs npm=npm
    target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
    idp="$target/idp"
    cmp -s tests/idp/package-lock.json "$idp/package-lock.json" && [ -d "$idp/node_modules" ] && return
    say "installing oidc-provider into $idp"
    mkdir -p "$idp"
    cp tests/idp/package.json tests/idp/package-lock.json "$idp/"
    (cd "$idp" && npm ci --no-audit --no-fund --loglevel=error)
}

# The Python that the tests and the bench use: $python, in $target, with what they need of it.
need_python() {
    target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
    python="$target/venv/bin/python"
    "$python" -c 'import yaml, cryptography, h2, grpc, http_message_signatures, kong, schemathesis' 2>/dev/null && return
    say "installing PyYAML, cryptography, h2, grpcio, http-message-signatures, aio-kong and schemathesis into $target/venv"
    python3 -m venv --clear "$target/venv"
    "$python" -m pip install --quiet --disable-pip-version-check PyYAML cryptography h2 grpcio \
        http-message-signatures aio-kong schemathesis
}
