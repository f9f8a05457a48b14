#!/usr/bin/env bash
# Is the database well? All that is asked for must be: --connect, --innodb_initialized.
set -euo pipefail

ask() {
    mariadb --defaults-extra-file=/var/lib/mysql/.my-healthcheck.cnf --protocol=socket --batch \
        --skip-column-names --execute="$1"
}

[[ $# -gt 0 ]] || {
    echo "healthcheck: say what to ask for: --connect, --innodb_initialized" >&2
    exit 1
}
for word; do
    case $word in
    # The server of the first start, which sets up users, has no network.
    --connect) [[ $(ask 'select @@skip_networking') == 0 ]] ;;
    --innodb_initialized)
        [[ $(ask "select 1 from information_schema.ENGINES where engine = 'innodb' and support in ('YES', 'DEFAULT')") == 1 ]]
        ;;
    *)
        echo "healthcheck: nothing is known of $word" >&2
        exit 1
        ;;
    esac || {
        echo "healthcheck: ${word#--} failed" >&2
        exit 1
    }
done
