# Sourced by the scripts beside it: how they speak, fail and become root.
# shellcheck shell=bash

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s: %s\n' "${0##*/}" "$*"; }

# fail WHAT NEXT-STEP...: one line each, and the end.
fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    shift
    [[ $# -eq 0 ]] || printf '  %s\n' "$@" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1 || [[ -x /usr/sbin/$1 || -x /sbin/$1 ]]; }

as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif has sudo; then
        sudo "$@"
    else
        fail "this step needs root: $*" "run it as root, or install sudo"
    fi
}

# Under sudo the user's tools and files stay the user's: nothing in the tree becomes root's.
as_user() {
    if [[ $EUID -eq 0 && -n ${SUDO_USER:-} && $SUDO_USER != root ]]; then
        sudo --user="$SUDO_USER" --set-home -- "$@"
    else
        "$@"
    fi
}

has_systemd() { [[ -d /run/systemd/system ]]; }
