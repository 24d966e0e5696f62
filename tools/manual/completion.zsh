_NAME_devices() {
  local -a addresses
  addresses=(/sys/bus/pci/devices/*(N:t))
  compadd -- $addresses ${addresses#0000:} /sys/class/nvme/*(N:t) soft:nvme
  if compset -P file:; then _files; else compadd -S '' -- file:; _files; fi
}
# Names of files that begin like these paths.
_NAME_names() {
  local -a names
  local prefix
  for prefix; do names+=($prefix*(N:t)); done
  compadd -- $names
}
