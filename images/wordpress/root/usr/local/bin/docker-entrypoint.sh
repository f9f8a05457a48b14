#!/usr/bin/env bash
# Puts WordPress onto an empty volume, with a configuration that reads the environment: WORDPRESS_DB_HOST,
# WORDPRESS_DB_USER, WORDPRESS_DB_PASSWORD, WORDPRESS_DB_NAME, WORDPRESS_TABLE_PREFIX, WORDPRESS_DEBUG and
# WORDPRESS_CONFIG_EXTRA. Each may end in _FILE.
set -euo pipefail

# Keys that sign cookies, made once for a site.
configuration() {
    local line
    while IFS= read -r line; do
        while [[ $line == *@RANDOM@* ]]; do
            line=${line/@RANDOM@/$(head -c 32 /dev/urandom | sha256sum | cut -d' ' -f1)}
        done
        printf '%s\n' "$line"
    done </usr/src/wp-config-container.php
}

put() {
    if [[ ! -e index.php && ! -e wp-includes/version.php ]]; then
        echo "WordPress is put into $PWD" >&2
        cp -a --no-clobber /usr/src/wordpress/. .
        if [[ $(id -u) == 0 ]]; then chown www-data:www-data .; fi
    fi
    if [[ ! -e wp-config.php && -n ${!WORDPRESS_*} ]]; then
        # Whole or not at all: a start that is cut short is followed by another.
        (umask 0027 && configuration >.wp-config.new)
        if [[ $(id -u) == 0 ]]; then chown www-data:www-data .wp-config.new; fi
        mv .wp-config.new wp-config.php
    fi
}

if [[ ${1:-} == apache2* ]]; then put; fi
exec "$@"
