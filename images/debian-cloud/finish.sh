# What each guest makes for itself goes: keys, ids, names.
rm -f /etc/ssh/ssh_host_*_key* /var/lib/dbus/machine-id /var/lib/systemd/random-seed
: > /etc/machine-id
echo localhost > /etc/hostname
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' > /etc/hosts
ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
passwd -q -l root

# GRUB is in the disk, not in a package: it starts what the links in / lead to, which kernel packages keep.
mkdir -p /boot/grub
cat > /boot/grub/grub.cfg <<'CFG'
set timeout=0
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
menuentry "Debian" {
    linux /vmlinuz root=LABEL=root ro console=tty0 console=ttyS0,115200 quiet
    initrd /initrd.img
}
CFG
test -e /vmlinuz && test -e /initrd.img

cat > /etc/cloud/cloud.cfg.d/90_monohull.cfg <<'CFG'
locale: C.UTF-8
datasource_list: [NoCloud, ConfigDrive, OpenStack, Ec2, None]
system_info:
  network:
    renderers: [netplan]
CFG
systemctl enable systemd-networkd systemd-resolved ssh qemu-guest-agent 2> /dev/null || true
rm -rf /usr/share/doc/*/changelog* /var/log/apt /var/log/dpkg.log /var/log/alternatives.log /root/.bash_history
