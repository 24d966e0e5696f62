# Starts QEMU and ends it when standard input ends, which happens when whoever started it dies, however it dies.
# Arguments: the run's folder and the sockets' folder, both removed at the end, then QEMU's command line.
# Says the process number first and QEMU's exit status last. The line "keep" lets QEMU go on alone.

folder=$1
sockets=$2
shift 2
trap '' PIPE
exec 3<&0

"$@" </dev/null >"$folder/qemu.log" 2>&1 3<&- &
qemu=$!
echo $qemu

# Holds no end of standard output, so that whoever reads it sees the supervisor's own death at once.
{
  read -r word <&3
  [ "$word" = keep ] || kill -KILL $qemu
} >/dev/null 2>&1 &
watcher=$!

wait $qemu
status=$?
kill $watcher 2>/dev/null
wait $watcher 2>/dev/null
echo $status

# The logs are read before standard input is closed.
read -r word <&3
rm -rf "$folder" "$sockets"
