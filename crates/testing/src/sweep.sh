# Takes a test node down: whatever it started, mounted and set up.
#
#   sweep.sh HULL ROOT
#
# It waits until its standard input ends, so that it also runs when the test was killed. Lines before
# that are tags of the node in names of links and tables; `runner PID` makes it wait for that process's
# end too. Only what names the node's own root or tag is touched.
hull=$1 root=$2
run=$root/run/hull
tag=
while read -r word pid; do
    case $word in
    runner) tail --pid="$pid" -f /dev/null ;;
    *) tag=$word ;;
    esac
done

if [ -S "$run/api.sock" ]; then
    names=$(timeout 20 "$hull" --root "$root" ps -aq)
    [ -n "$names" ] && timeout 60 "$hull" --root "$root" rm -fv $names
fi
timeout 30 "$hull" --root "$root" down

# What is left names a path below the root in its arguments. Workloads first, by their shims' records.
for record in "$run"/containerd/state/io.containerd.runtime.v2.task/hull/*/init.pid; do
    [ -f "$record" ] && kill -9 "$(cat "$record")"
done
containerd=$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$run/containerd/containerd.json")
for pid in $containerd $(ls /proc | grep '^[0-9]*$'); do
    if tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qF "$root/"; then kill -9 "$pid"; fi
done
if [ -n "$containerd" ]; then timeout 10 tail --pid="$containerd" -f /dev/null; fi

# The innermost mounts are the last in the list.
awk -v below="$root/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | tac |
    while read -r mount; do umount -l "$mount"; done
losetup -n -O NAME,BACK-FILE | awk -v below="$root/" 'index($2, below) == 1 { print $1 }' |
    while read -r device; do losetup -d "$device"; done
if [ -n "$tag" ]; then
    nft delete table inet "hull-$tag"
    for link in /sys/class/net/hb"$tag"* /sys/class/net/hv"$tag"*; do
        [ -e "$link" ] && ip link delete "${link##*/}"
    done
fi
# A node on btrfs keeps volumes as subvolumes, which rm removes since Linux 4.18.
rm -rf --one-file-system "$root" "$root.lock"
