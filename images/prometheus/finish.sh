# The pages of the old console, whose scripts are in other packages, and what a service of systemd wants.
rm -rf /etc/default/prometheus /etc/init.d/prometheus /etc/prometheus/console* /lib/systemd /usr/share/prometheus/console*
install -d -o nobody -g nogroup /prometheus /etc/prometheus
# What upstream's image has of busybox and health checks ask with.
ln -s busybox /bin/wget
