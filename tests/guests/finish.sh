# Runs in the tree of a guest's system, after its packages and our own files.
useradd --create-home --shell /bin/bash alice
echo 'alice ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/alice
chmod 0440 /etc/sudoers.d/alice
rm -f /etc/apt/sources.list.d/*
mkdir -p /brought /var/log/journal
# No network is there to fetch from: these would hold the package manager's lock.
systemctl mask apt-daily.timer apt-daily-upgrade.timer
systemctl enable systemd-networkd.service guest-shell.service
: >/etc/machine-id
# Read by disks.py: what is to lie in the archive that the guest installs from.
/root/scripts/packages --list runtime >/root/wanted-packages
