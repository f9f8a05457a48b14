#!/usr/bin/env bash
# Makes a database on an empty volume, with the users and passwords that the environment names, and starts
# the server as the user mysql.
#
# MARIADB_ROOT_PASSWORD, MARIADB_RANDOM_ROOT_PASSWORD or MARIADB_ALLOW_EMPTY_ROOT_PASSWORD; MARIADB_DATABASE,
# MARIADB_USER, MARIADB_PASSWORD, MARIADB_ROOT_HOST. Each may end in _FILE, and may begin with MYSQL_.
set -euo pipefail
shopt -s nullglob

data=/var/lib/mysql
# There while a database is made: one that was cut short is made anew.
half_made=$data/.half-made
socket=/run/mysqld/mysqld.sock

fail() {
    printf 'mariadb: %s\n' "$@" >&2
    exit 1
}

# Sets MARIADB_$1 from itself, its MYSQL_ name, or the file that either names.
setting() {
    local ours=MARIADB_$1 theirs=MYSQL_$1 name
    local value=${!ours:-${!theirs:-}}
    for name in "${ours}_FILE" "${theirs}_FILE"; do
        [[ -n ${!name:-} ]] || continue
        [[ -z $value ]] || fail "$ours and $name are both set, of which one is meant"
        value=$(<"${!name}")
        unset "$name"
    done
    export "$ours=${value:-${2:-}}"
}

read_environment() {
    local name
    for name in ROOT_PASSWORD RANDOM_ROOT_PASSWORD ALLOW_EMPTY_ROOT_PASSWORD DATABASE USER PASSWORD; do
        setting "$name"
    done
    setting ROOT_HOST %
}

check_password() {
    [[ -n $MARIADB_ROOT_PASSWORD$MARIADB_RANDOM_ROOT_PASSWORD$MARIADB_ALLOW_EMPTY_ROOT_PASSWORD ]] || fail \
        "there is no database yet, and no password of its root is given" \
        "set MARIADB_ROOT_PASSWORD, MARIADB_RANDOM_ROOT_PASSWORD or MARIADB_ALLOW_EMPTY_ROOT_PASSWORD"
}

random_word() {
    head -c 24 /dev/urandom | base64 | tr '+/' '-_'
}

# A text as a string of SQL.
quoted() {
    local text=${1//\\/\\\\}
    printf "'%s'" "${text//\'/\\\'}"
}

sql() {
    mariadb --protocol=socket --socket="$socket" --user=root "$@"
}

# The server that runs the init files listens on its socket only: nobody outside sees a half-made database.
start_temporarily() {
    "$@" --skip-networking --socket="$socket" &
    server=$!
    local left
    for ((left = 60; left > 0; left--)); do
        if sql --execute='SELECT 1' >/dev/null 2>&1; then return; fi
        kill -0 "$server" 2>/dev/null || fail "the server ended while it was set up; why is said above"
        sleep 1
    done
    fail "the server did not answer within a minute"
}

stop_temporary() {
    kill "$server"
    wait "$server"
}

# What healthcheck.sh signs in with: a user without rights, from here only.
health_user() {
    local password host
    password=$(random_word)
    for host in 127.0.0.1 ::1 localhost; do
        echo "CREATE USER IF NOT EXISTS healthcheck@'$host' IDENTIFIED BY '$password';"
    done
    (
        umask 0077
        printf '[mariadb-client]\nuser=healthcheck\npassword=%s\n' "$password" >"$data/.my-healthcheck.cnf"
    )
}

users() {
    health_user
    if [[ -n $MARIADB_DATABASE ]]; then
        echo "CREATE DATABASE IF NOT EXISTS \`$MARIADB_DATABASE\`;"
    fi
    if [[ -n $MARIADB_USER && -n $MARIADB_PASSWORD ]]; then
        echo "CREATE USER $(quoted "$MARIADB_USER")@'%' IDENTIFIED BY $(quoted "$MARIADB_PASSWORD");"
        if [[ -n $MARIADB_DATABASE ]]; then
            echo "GRANT ALL ON \`${MARIADB_DATABASE//_/\\_}\`.* TO $(quoted "$MARIADB_USER")@'%';"
        fi
    fi
    if [[ $MARIADB_ROOT_HOST != localhost ]]; then
        echo "CREATE USER root@$(quoted "$MARIADB_ROOT_HOST") IDENTIFIED BY $(quoted "$MARIADB_ROOT_PASSWORD");"
        echo "GRANT ALL ON *.* TO root@$(quoted "$MARIADB_ROOT_HOST") WITH GRANT OPTION;"
    fi
    echo "SET PASSWORD FOR root@localhost = PASSWORD($(quoted "$MARIADB_ROOT_PASSWORD"));"
}

run_init_files() {
    local file into=()
    if [[ -n $MARIADB_DATABASE ]]; then into=("--database=$MARIADB_DATABASE"); fi
    for file in /docker-entrypoint-initdb.d/*; do
        printf '%s: running %s\n' "$0" "$file"
        case $file in
        *.sh)
            # A script that cannot be executed is meant to be sourced.
            # shellcheck source=/dev/null
            if [[ -x $file ]]; then "$file"; else . "$file"; fi
            ;;
        *.sql) sql "${into[@]}" <"$file" ;;
        *.sql.gz) gunzip -c "$file" | sql "${into[@]}" ;;
        *.sql.xz) xz -dc "$file" | sql "${into[@]}" ;;
        *.sql.zst) zstd -dc "$file" | sql "${into[@]}" ;;
        *) printf '%s: ignoring %s\n' "$0" "$file" ;;
        esac
    done
}

first_start() {
    check_password
    if [[ -n $MARIADB_RANDOM_ROOT_PASSWORD && -z $MARIADB_ROOT_PASSWORD ]]; then
        MARIADB_ROOT_PASSWORD=$(random_word)
        printf 'GENERATED ROOT PASSWORD: %s\n' "$MARIADB_ROOT_PASSWORD"
    fi
    touch "$half_made"
    mariadb-install-db --datadir="$data" --auth-root-authentication-method=normal --skip-test-db >/dev/null
    start_temporarily "$@"
    users | sql
    export MYSQL_PWD=$MARIADB_ROOT_PASSWORD
    run_init_files
    unset MYSQL_PWD
    stop_temporary
    rm "$half_made"
    printf '\nMariaDB init process done. Ready for start up.\n\n'
}

only_asks_for_help() {
    local word
    for word; do
        case $word in
        -'?' | --help | --print-defaults | -V | --version) return 0 ;;
        esac
    done
    return 1
}

if [[ ${1:0:1} == - ]]; then
    set -- mariadbd "$@"
fi
if [[ $1 == mariadbd || $1 == mysqld ]] && ! only_asks_for_help "$@"; then
    read_environment
    mkdir -p "$data"
    if [[ $(id -u) == 0 ]]; then
        find "$data" /run/mysqld \! -user mysql -exec chown mysql: '{}' +
        exec setpriv --reuid=mysql --regid=mysql --init-groups "${BASH_SOURCE[0]}" "$@"
    fi
    if [[ -e $half_made ]]; then find "$data" -mindepth 1 -delete; fi
    [[ -d $data/mysql ]] || first_start "$@"
fi
exec "$@"
