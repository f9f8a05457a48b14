#!/usr/bin/env bash
# Makes the database cluster on first start, then becomes the server.
# The variables are those of the well-known postgres image.
set -Eeo pipefail

fail() {
    printf 'postgres: %s\n' "$@" >&2
    exit 1
}

# A secret may be handed over in NAME or in a file named by NAME_FILE.
from_file() {
    local name=$1 file_name=$1_FILE default=${2:-}
    if [[ -n ${!name:-} && -n ${!file_name:-} ]]; then
        fail "$name and $file_name are both set: set one"
    fi
    if [[ -n ${!file_name:-} ]]; then
        export "$name=$(<"${!file_name}")"
    else
        export "$name=${!name:-$default}"
    fi
    unset "$file_name"
}

read_environment() {
    from_file POSTGRES_PASSWORD
    from_file POSTGRES_USER postgres
    from_file POSTGRES_DB "$POSTGRES_USER"
    from_file POSTGRES_INITDB_ARGS
    : "${POSTGRES_HOST_AUTH_METHOD:=}"
}

check_password() {
    if [[ -z $POSTGRES_PASSWORD && $POSTGRES_HOST_AUTH_METHOD != trust ]]; then
        fail "the database is new and the superuser has no password" \
            "set POSTGRES_PASSWORD, for example: -e POSTGRES_PASSWORD=secret" \
            "or let everyone in without one: -e POSTGRES_HOST_AUTH_METHOD=trust"
    fi
}

make_directories() {
    mkdir -p "$PGDATA"
    chmod 00700 "$PGDATA" || :
    mkdir -p /var/run/postgresql || :
    if [[ -n ${POSTGRES_INITDB_WALDIR:-} ]]; then
        mkdir -p "$POSTGRES_INITDB_WALDIR"
        chmod 700 "$POSTGRES_INITDB_WALDIR"
    fi
    if [[ $(id -u) == 0 ]]; then
        find "$PGDATA" ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"} \! -user postgres -exec chown postgres '{}' +
        find /var/run/postgresql \! -user postgres -exec chown postgres '{}' +
    fi
}

init_cluster() {
    local -a options=("--username=$POSTGRES_USER" "--pwfile=/dev/fd/3")
    if [[ -n ${POSTGRES_INITDB_WALDIR:-} ]]; then
        options+=("--waldir=$POSTGRES_INITDB_WALDIR")
    fi
    eval 'initdb "${options[@]}" '"$POSTGRES_INITDB_ARGS"' "$@"' 3< <(printf '%s\n' "${POSTGRES_PASSWORD:-none}")
    local method=${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption)}
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

# The server that runs the init scripts listens on its socket only: nobody outside sees a half-made database.
start_temporarily() {
    [[ $1 == postgres ]] && shift
    NOTIFY_SOCKET='' PGUSER=$POSTGRES_USER \
        pg_ctl -D "$PGDATA" -o "$(printf '%q ' "$@" -c listen_addresses= -p "${PGPORT:-5432}")" -w start
}

stop_temporary() {
    PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -m fast -w stop
}

run_sql() {
    PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --no-password "$@"
}

make_database() {
    local found
    found=$(run_sql --dbname postgres --tuples-only --set "db=$POSTGRES_DB" \
        <<<"SELECT 1 FROM pg_database WHERE datname = :'db';")
    if [[ -z $found ]]; then
        run_sql --dbname postgres --set "db=$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
    fi
}

run_init_files() {
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        [[ -e $file ]] || continue
        printf '%s: running %s\n' "$0" "$file"
        case $file in
        *.sh)
            # A script that cannot be executed is meant to be sourced.
            # shellcheck source=/dev/null
            if [[ -x $file ]]; then "$file"; else . "$file"; fi
            ;;
        *.sql) run_sql --dbname "$POSTGRES_DB" -f "$file" ;;
        *.sql.gz) gunzip -c "$file" | run_sql --dbname "$POSTGRES_DB" ;;
        *.sql.xz) xz -dc "$file" | run_sql --dbname "$POSTGRES_DB" ;;
        *.sql.zst) zstd -dc "$file" | run_sql --dbname "$POSTGRES_DB" ;;
        *) printf '%s: ignoring %s\n' "$0" "$file" ;;
        esac
    done
}

first_start() {
    check_password
    init_cluster
    export PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD}
    start_temporarily "$@"
    make_database
    run_init_files
    stop_temporary
    unset PGPASSWORD
    printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

only_asks_for_help() {
    local word
    for word; do
        case $word in
        -'?' | --help | --describe-config | -V | --version) return 0 ;;
        esac
    done
    return 1
}

if [[ ${1:0:1} == - ]]; then
    set -- postgres "$@"
fi
if [[ $1 == postgres ]] && ! only_asks_for_help "$@"; then
    read_environment
    make_directories
    if [[ $(id -u) == 0 ]]; then
        exec setpriv --reuid=postgres --regid=postgres --init-groups "${BASH_SOURCE[0]}" "$@"
    fi
    if [[ -s $PGDATA/PG_VERSION ]]; then
        printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
    else
        first_start "$@"
    fi
fi
exec "$@"
