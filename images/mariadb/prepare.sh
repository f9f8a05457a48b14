groupadd --system --gid 999 mysql
useradd --system --gid mysql --no-create-home --home /var/lib/mysql --shell /usr/sbin/nologin --uid 999 mysql
