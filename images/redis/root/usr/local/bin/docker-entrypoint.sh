#!/bin/sh
# Starts redis-server as the user redis, reachable from other containers.
set -e

# `docker run redis --loglevel debug` and `docker run redis /path/redis.conf` mean the server.
case "${1:-}" in
-* | *.conf) set -- redis-server "$@" ;;
esac

# The package's server answers only to loopback unless a password is set. In a container the network
# decides who may connect, so that guard is off unless the user set it.
says_protected_mode() {
    for word in "$@"; do
        case "$word" in
        --protected-mode) return 0 ;;
        *.conf) ! grep -qs '^[[:space:]]*protected-mode' "$word" || return 0 ;;
        esac
    done
    return 1
}

if [ "${1:-}" = redis-server ]; then
    says_protected_mode "$@" || set -- "$@" --protected-mode no
    umask 0077
    if [ "$(id -u)" = 0 ]; then
        find . \! -user redis -exec chown redis '{}' +
        exec setpriv --reuid=redis --regid=redis --init-groups "$@"
    fi
fi
exec "$@"
