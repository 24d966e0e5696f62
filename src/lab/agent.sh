#!/run/busbar/busybox sh
# Runs commands in a lab guest for the host. First as process 1, which finishes the system and keeps the second one
# alive; then as the second one, which obeys lines on the port "control":
#
#   hello ID                        answered by: ready ID
#   share BASE64                    mounts the writable share at this path
#   run CHANNEL ID INPUT SCRIPT     runs a shell script (base64); INPUT is "input" or "none"
#                                   answered by: pid ID NUMBER, exit ID STATUS, or busy ID, or fail ID
#   shell ID ROWS COLUMNS SCRIPT    the same on the terminal port
#   size ROWS COLUMNS               the terminal changed its size
#   kill NUMBER SIGNAL
#   off
#
# A channel is three ports: in.N, out.N and err.N. Each output begins and ends with the ID of its command: what comes
# before is left over from a command whose client has died.

home=/run/busbar

finish_system() {
  mkdir -p /dev/shm /dev/pts /dev/mqueue /dev/hugepages
  mount -t tmpfs -o mode=1777 shm /dev/shm
  mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
  mount -t mqueue mqueue /dev/mqueue
  mount -t hugetlbfs hugetlbfs /dev/hugepages
  mount -t debugfs debugfs /sys/kernel/debug
  mount -t tracefs tracefs /sys/kernel/tracing
  mount -t securityfs securityfs /sys/kernel/security
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  ln -s /proc/self/fd /dev/fd
  for number in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${number%:*}" "/dev/${number#*:}"; done
  # The home folder of root may be closed to the user that QEMU runs as.
  ls /root >/dev/null 2>&1 || mount -t tmpfs -o mode=700 home /root
  ip link set lo up
  mkdir $home/ports
  for port in /sys/class/virtio-ports/*; do
    [ -e "$port/name" ] && ln -s "/dev/${port##*/}" "$home/ports/$(cat "$port/name")"
  done
}

if [ $$ = 1 ]; then
  finish_system
  if grep -qw lab.shell /proc/cmdline; then
    # No host to obey: a shell for the person at the console.
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=vt100 LANG=C.UTF-8
    cd
    setsid -c /bin/sh -l </dev/ttyS0 >/dev/ttyS0 2>&1
    sync
    poweroff -f
  fi
  # Job control, which gives commands their default signals, needs a terminal of its own.
  while :; do
    setsid -c $home/busybox sh $home/agent.sh </dev/ttyS0 >/dev/ttyS0 2>&1
    echo "lab: the agent ended with $?" >/dev/kmsg
    sleep 1
  done
fi

set -m
exec 3<>$home/ports/control

# A script begins by saying its process number, which it keeps through exec.
write_script() { # CHANNEL SCRIPT
  {
    echo "echo \$\$ >$home/pid.$1"
    echo 'echo "pid $1 $$" >&3; exec 3>&-'
    echo "$2" | base64 -d
  } >$home/script.$1
}

# Programs open /dev/stdout again, which a port refuses and a pipe allows: so each output goes through a pipe.
execute() { # CHANNEL ID INPUT
  exec 4<>$home/ports/out.$1 5<>$home/ports/err.$1
  printf %s "$2" >&4
  printf %s "$2" >&5
  # New pipes: the old ones may be in the hands of what an earlier command left behind.
  rm -f $home/out.$1 $home/err.$1
  mkfifo $home/out.$1 $home/err.$1
  cat <$home/out.$1 >&4 &
  out=$!
  cat <$home/err.$1 >&5 &
  err=$!
  input=/dev/null
  [ "$3" = input ] && input=$home/ports/in.$1
  # In a shell of its own, so that the news of its violent death goes to the console and not to its outputs.
  (exec setsid /bin/sh $home/script.$1 "$2") <$input >$home/out.$1 2>$home/err.$1 4>&- 5>&-
  echo "exit $2 $?" >&3
  # A process that the command left behind may hold the pipes open forever.
  { sleep 1 && kill $out $err; } 2>/dev/null 4>&- 5>&- &
  guard=$!
  wait $out $err
  kill $guard
  printf %s "$2" >&4
  printf %s "$2" >&5
}

terminal() { # ID ROWS COLUMNS
  {
    # In one go: a terminal that nobody holds open forgets its size.
    stty sane rows "$2" cols "$3"
    setsid -c /bin/sh $home/script.shell "$1"
    echo "exit $1 $?" >&3
  } </dev/hvc0 >/dev/hvc0 2>&1
  rm -f $home/busy.shell $home/pid.shell
}

# Without a client reading ends at once: then another one may come.
while :; do
  while read -r verb a b c d <&3; do
    case $verb in
    hello)
      # The port has one client at a time: whatever still runs belongs to one that has died.
      for pid in $home/pid.*; do [ -e "$pid" ] && kill -HUP -- -"$(cat "$pid")"; done
      # A later client finds the host's files as they are now: what was read of them before is forgotten.
      [ -e $home/greeted ] && echo 3 >/proc/sys/vm/drop_caches
      : >$home/greeted
      echo "ready $a" >&3
      ;;
    share)
      folder=$(echo "$a" | base64 -d)
      mkdir -p "$folder"
      mount -t 9p -o trans=virtio,version=9p2000.L,cache=none,msize=512000 share "$folder"
      ;;
    run)
      # The last command's outputs may be at their end, but not quite closed.
      for _ in 1 2 3 4 5 6 7 8 9 10; do [ -e $home/busy.$a ] && sleep 0.05; done
      if [ -e $home/busy.$a ]; then
        echo "busy $b" >&3
      else
        : >$home/busy.$a
        write_script "$a" "$d"
        {
          (execute "$a" "$b" "$c") || echo "fail $b" >&3
          rm -f $home/busy.$a $home/pid.$a
        } &
      fi
      ;;
    shell)
      for _ in 1 2 3 4 5 6 7 8 9 10; do [ -e $home/busy.shell ] && sleep 0.05; done
      if [ -e $home/busy.shell ]; then
        echo "busy $a" >&3
      else
        : >$home/busy.shell
        write_script shell "$d"
        terminal "$a" "$b" "$c" &
      fi
      ;;
    size) stty rows "$a" cols "$b" </dev/hvc0 ;;
    kill) kill -"$b" "$a" ;;
    off)
      sync
      poweroff -f
      ;;
    esac
  done
  sleep 0.1
done
