groupadd --system --gid 999 redis
useradd --system --gid redis --no-create-home --home /data --shell /usr/sbin/nologin --uid 999 redis
