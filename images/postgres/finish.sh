major=$(ls /usr/lib/postgresql)
# A key pair generated at installation would be the same in every container.
rm -f /etc/ssl/private/ssl-cert-snakeoil.key /etc/ssl/certs/ssl-cert-snakeoil.pem
sed -i "s/^#listen_addresses = .*/listen_addresses = '*'/" "/usr/share/postgresql/$major/postgresql.conf.sample"
install -d -m 3777 -o postgres -g postgres /var/run/postgresql
install -d -m 0700 -o postgres -g postgres /var/lib/postgresql/data
mkdir -p /docker-entrypoint-initdb.d
