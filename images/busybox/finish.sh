# Runs inside the tree, by the busybox just unpacked, which has no applet links yet.
PATH=/bin
for applet in $(/bin/busybox --list); do
    [ -e "/bin/$applet" ] || /bin/busybox ln -s busybox "/bin/$applet"
done
rm -rf /usr/share
mkdir -p /dev /etc /home /proc /root /sys /tmp /usr/bin /usr/sbin /var/spool/mail /var/www
ln -s ../../bin/env /usr/bin/env
ln -s ../../tmp /var/tmp
chmod 1777 /tmp
chmod 0700 /root
