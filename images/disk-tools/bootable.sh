# A disk that starts by BIOS and by UEFI, with and without secure boot: GPT with a root file system, and
# numbered as Debian numbers its own cloud images. /tree is what it holds, SIZE its size in MiB.
uuid=6d6f6e6f-6875-4c6c-8000-000000000001
export E2FSPROGS_FAKE_TIME="$SOURCE_DATE_EPOCH" MTOOLS_SKIP_CHECK=1
cd /out

# Sectors. The root is last, where it can grow.
bios=2048 efi=8192 efi_sectors=65536
root=$((efi + efi_sectors))
all=$((SIZE * 2048))
root_sectors=$((all - root - 2048))

mke2fs -q -F -t ext4 -m 1 -L root -U $uuid -E hash_seed=$uuid,root_owner=0:0 -d /tree root.img $((root_sectors / 2))k

if [ -d /disk-tools/uefi/usr/lib/shim ]; then
    truncate -s $((efi_sectors * 512)) efi.img
    mkfs.fat --invariant -n EFI -i 6d6f6e6f efi.img > mkfs.log
    mmd -i efi.img ::EFI ::EFI/BOOT ::EFI/debian
    mcopy -i efi.img /disk-tools/uefi/usr/lib/shim/shimx64.efi.signed ::EFI/BOOT/BOOTX64.EFI
    mcopy -i efi.img /disk-tools/uefi/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed ::EFI/BOOT/grubx64.efi
    cat > efi.cfg <<'CFG'
search --no-floppy --label root --set root
set prefix=($root)/boot/grub
configfile $prefix/grub.cfg
CFG
    mcopy -i efi.img efi.cfg ::EFI/debian/grub.cfg
fi

truncate -s $((all * 512)) disk.img
sfdisk -q disk.img <<TABLE
label: gpt
label-id: $uuid
14 : start=$bios, size=$((efi - bios)), type=21686148-6449-6E6F-744E-656564454649
15 : start=$efi, size=$efi_sectors, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B
1 : start=$root, size=$root_sectors, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4
TABLE
put() {
    dd if="$1" of=disk.img bs=512 seek="$2" conv=notrunc,sparse status=none
}
put root.img $root
[ ! -e efi.img ] || put efi.img $efi

# What grub-bios-setup does on a device: boot.img knows where core.img is, and core.img's first sector where
# its second is (GRUB's boot.S, diskboot.S).
cat > core.cfg <<'CFG'
search --no-floppy --label root --set root
set prefix=($root)/boot/grub
CFG
grub-mkimage -O i386-pc -o core.img -c core.cfg -p /boot/grub \
    biosdisk part_gpt ext2 search search_label normal configfile linux echo test serial terminal
number() { # as eight bytes, the lowest first
    rest=$1
    for byte in 1 2 3 4 5 6 7 8; do
        printf "\\$(printf %o $((rest % 256)))"
        rest=$((rest / 256))
    done | dd of="$2" bs=1 seek="$3" conv=notrunc status=none
}
head -c 440 /usr/lib/grub/i386-pc/boot.img > boot.img
number $bios boot.img 92
number $((bios + 1)) core.img 500
put core.img $bios
dd if=boot.img of=disk.img bs=440 count=1 conv=notrunc status=none
