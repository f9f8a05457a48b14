install -d -o mysql -g mysql /var/lib/mysql
install -d -m 1777 -o mysql -g mysql /run/mysqld
mkdir -p /docker-entrypoint-initdb.d /etc/mysql/conf.d /etc/mysql/mariadb.conf.d
# Other containers connect, by names that nobody knows backwards.
cat >/etc/mysql/mariadb.conf.d/05-container.cnf <<'END'
[mariadbd]
bind-address = *
socket = /run/mysqld/mysqld.sock
host-cache-size = 0
skip-name-resolve
[client]
socket = /run/mysqld/mysqld.sock
END
