#!/busybox sh
# The first program of a lab guest. Loads modules and makes a root that shows the host's files, read-only below and
# writable above, so that the guest has the host's programs at the host's paths and the host never sees a change.

run() { /busybox "$@" || echo "lab: failed: $*"; }

run mount -t proc proc /proc
run mount -t sysfs sysfs /sys
run mount -t devtmpfs dev /dev
# Without quiet the boot takes a second longer; from here on the console log is complete.
run dmesg -n 7

while read -r module; do run insmod "/modules/$module"; done </modules/order

# The tags are missing when the machine has no such export.
options=ro,trans=virtio,version=9p2000.L,cache=loose,msize=512000
run mount -t 9p -o $options host /host
lower=/host
/busybox mount -t 9p -o $options tools /tools 2>/dev/null && lower=/host:/tools

run mount -t tmpfs -o size=75% upper /upper
run mkdir /upper/data /upper/work
run mount -t overlay -o lowerdir=$lower,upperdir=/upper/data,workdir=/upper/work root /root
# Those of a kernel that is not the image's own; the tag is missing where the guest sees them already.
if /busybox mount -t 9p -o $options modules /installed-modules 2>/dev/null; then
  installed=/root/usr/lib/modules/$(/busybox uname -r)
  run mkdir -p "$installed"
  run mount --move /installed-modules "$installed"
fi
for folder in /proc /sys /dev; do run mount --move $folder /root$folder; done
run mount -t tmpfs -o mode=755 run /root/run
run mkdir /root/run/busbar
run cp /busybox /agent.sh /root/run/busbar/
exec /busybox switch_root /root /run/busbar/busybox sh /run/busbar/agent.sh
