#!/bin/sh
# As Gitea's rootless image does: directories that are its own, and settings from the environment.
set -e
mkdir -p /var/lib/gitea/git/repositories
chmod 0700 /var/lib/gitea/git /etc/gitea
key=$(printenv GITEA__security__SECRET_KEY__FILE)
[ -r "$key" ] || {
    echo "the key $key cannot be read by $(id -u)" >&2
    exit 1
}
[ -e /etc/gitea/app.ini ] || env | sed -n 's/^GITEA__//p' >/etc/gitea/app.ini
export GIT_PROJECT_ROOT=/var/lib/gitea/git/repositories GIT_HTTP_EXPORT_ALL=1 REMOTE_USER=anybody
exec busybox httpd -f -p 3000 -h /srv/www
