#!/bin/sh
# Runs what stands in /docker-entrypoint.d before nginx itself, then becomes the command.
set -e

log() {
    [ -n "${NGINX_ENTRYPOINT_QUIET_LOGS:-}" ] || echo "$0: $*"
}

prepare() {
    for file in /docker-entrypoint.d/*; do
        # shellcheck source=/dev/null
        case "$file" in
        *.envsh) [ ! -x "$file" ] || { log "Sourcing $file" && . "$file"; } ;;
        *.sh) [ ! -x "$file" ] || { log "Launching $file" && "$file"; } ;;
        esac
    done
    log "Configuration complete; ready for start up"
}

case "$1" in
nginx | nginx-debug) prepare ;;
esac
exec "$@"
