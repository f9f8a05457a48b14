# A disk that is one ext4 file system without partitions, for guests whose kernel QEMU starts.
# /tree is what it holds, SIZE its size in MiB.
uuid=6d6f6e6f-6875-4c6c-8000-000000000001
export E2FSPROGS_FAKE_TIME="$SOURCE_DATE_EPOCH"
mke2fs -q -F -t ext4 -m 1 -L root -U $uuid -E hash_seed=$uuid,root_owner=0:0 -d /tree /out/disk.img "${SIZE}M"
