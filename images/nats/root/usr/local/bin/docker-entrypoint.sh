#!/bin/sh
# `docker run nats --jetstream` means the server.
case "${1:-}" in
-*) set -- nats-server "$@" ;;
esac
exec "$@"
