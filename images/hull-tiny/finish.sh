# Runs in a Debian with the packages: picks what a guest of the fewest megabytes and milliseconds needs.
root=/machine/root
initramfs=/machine/initramfs
release=$(ls /lib/modules)
mkdir -p $root/bin $root/sbin $root/etc $root/dev $root/proc $root/sys $root/run $root/tmp $root/mnt $root/root \
    $root/var/lib $root/usr/bin $root/usr/sbin $root/lib/modules/$release $initramfs/bin
chmod 1777 $root/tmp
chmod 700 $root/root
ln -s ../run $root/var/run
cp -a /hull-tiny/. $root
ln -s ../run/resolv.conf $root/etc/resolv.conf
cp /boot/vmlinuz-$release /machine/kernel

# Programs with the libraries they are linked to.
take() {
    for path in "$1" $(ldd "$1" | sed -n 's/.*[[:space:]]\(\/[^ ]*\) (0x.*/\1/p'); do
        mkdir -p "$root$(dirname "$path")"
        cp -L "$path" "$root$path"
    done
}
take /usr/sbin/qemu-ga
take /sbin/resize2fs
busybox=$(command -v busybox)
cp "$busybox" $root/bin/busybox
cp "$busybox" $initramfs/bin/busybox
for applet in $(busybox --list); do
    [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
done
ln -s ../bin/busybox $root/sbin/init

# Modules with those they need. The initramfs has those that lead to the root file system.
depmod "$release"
modules() {
    for name in "$@"; do
        modprobe -S "$release" --show-depends "$name" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
    done | awk '!seen[$0]++'
}
for path in $(modules virtio_pci virtio_mmio virtio_blk virtio_scsi sd_mod sr_mod virtio_net e1000e virtio_console \
    virtio_balloon virtio_mem virtio-rng ahci nvme 9p 9pnet_virtio virtiofs ext4 isofs vfat nls_ascii nls_cp437 fuse \
    overlay evdev button pvpanic-pci i6300esb iTCO_wdt); do
    install -D -m 644 "$path" "$root/${path#/usr}"
done
cp /lib/modules/$release/modules.order /lib/modules/$release/modules.builtin $root/lib/modules/$release
depmod -b $root "$release"
mkdir $initramfs/modules
count=100
for path in $(modules virtio_pci virtio_mmio virtio_blk virtio_scsi sd_mod ext4); do
    cp "$path" $initramfs/modules/$count-$(basename "$path")
    count=$((count + 1))
done
mv $root/initramfs-init $initramfs/init
(cd $initramfs && find . | LC_ALL=C sort | busybox cpio -o -H newc 2>/dev/null | gzip -9n) > /machine/initrd
