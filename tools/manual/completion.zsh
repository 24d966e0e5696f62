_NAME_devices() {
  local -a addresses
  addresses=(/sys/bus/pci/devices/*(N:t))
  compadd -- $addresses ${addresses#0000:} soft:nvme
  if compset -P file:; then _files; else compadd -S '' -- file:; _files; fi
}
