mkdir -p /config/caddy /data/caddy /srv
