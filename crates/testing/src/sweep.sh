# Takes a test node down: whatever it started, mounted and set up.
#
#   sweep.sh HULL ROOT CLEAN-NODE BASE
#
# BASE is the root, or what it stands on: a directory above it, in which a disk may be mounted.
#
# It waits until its standard input ends, so that it also runs when the test was killed. Lines before
# that: `runner PID` makes it wait for that process's end too, `land NAME` names the network namespaces
# that the node lives in and goes with.
hull=$1 root=$2 clean=$3 base=$4
land=
while read -r word what; do
    case $word in
    runner) tail --pid="$what" -f /dev/null ;;
    land) land=$what ;;
    esac
done
FORCE=1 HULL=$hull ${land:+nsenter --net="/run/netns/$land-n"} "$clean" "$root"
if [ -n "$land" ]; then
    ip netns del "$land-n"
    ip netns del "$land-o"
fi
if [ "$base" != "$root" ]; then
    awk -v below="$base/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | tac |
        while read -r mount; do umount -l "$mount"; done
fi
rm -rf --one-file-system "$base" "$base.lock"
