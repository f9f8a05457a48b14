# The initial file system of a guest: what a virtual machine's root may lie on, and no more.
mkdir -p /etc/initramfs-tools/conf.d
echo 'MODULES=list' > /etc/initramfs-tools/conf.d/monohull
for module in virtio_pci virtio_mmio virtio_blk virtio_scsi sd_mod nvme ext4; do
    echo $module
done > /etc/initramfs-tools/modules
# apt asks once whether files like these are kept: they are.
mkdir -p /etc/default
echo 'LABEL=root / ext4 defaults,discard,errors=remount-ro 0 1' > /etc/fstab
printf 'do_symlinks = yes\nlink_in_boot = no\n' > /etc/kernel-img.conf
