install -d -o redis -g redis /data
# Without arguments the server takes its built-in settings, as upstream's image does.
rm -rf /etc/redis /var/lib/redis
