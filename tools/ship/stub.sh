#!/bin/sh
# busbar @VERSION@ for @OS@ @ARCH@: everything that it needs is in this file, behind these lines. At the first start it is
# unpacked into the user's cache; from then on it runs from there. Needs sh, tail, gzip, tar and the C library (glibc).
cache=${BUSBAR_PACKAGE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/busbar/package}
app=$cache/@ID@
die() {
  printf 'busbar: %s\n  hint: set BUSBAR_PACKAGE_CACHE to a folder that only you may write\n' "$1" >&2
  exit 3
}
# Running what lies there is running its owner's code.
case $cache in /*) ;; *) cache=$PWD/$cache app=$PWD/$app ;; esac
# Ours or root's, and closed to others; above that a sticky bit keeps others from renaming what is not theirs.
check() {
  at=$1
  while :; do
    # Mode and owner: drwxr-xr-x 2 0
    set -- $(ls -ldnL -- "${at:-/}" 2>/dev/null) || :
    [ "$3" = "$(id -u)" ] || [ "$3" = 0 ] || die "${at:-/} belongs to somebody else"
    case $1 in
      ?????w*|????????w*) case $1:$2:$at in
        ?????????[tT]*) [ "$at" != "$app" ] || die "$at may be written by others" ;;
        *) die "${at:-/} may be written by others" ;;
      esac ;;
    esac
    [ -n "$at" ] || break
    at=${at%/*}
  done
}
there=$cache
while [ -n "$there" ] && [ ! -e "$there" ]; do there=${there%/*}; done
check "$there"
if [ ! -x "$app/deno" ]; then
  umask 077
  mkdir -p "$cache" 2>/dev/null || die "cannot make the folder $cache"
  new=$cache/.unpacking-$$
  trap 'rm -rf "$new"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  rm -rf "$new" && mkdir -m 0700 "$new" || die "cannot write to $cache"
  # A damaged file is noticed by gzip at its very end, when tar has long had all it needs.
  { tail -n +@LINE@ "$0" | gzip -dc || : >"$new/damaged"; } | { tar -xf - -C "$new" && cat >/dev/null; } &&
    [ ! -e "$new/damaged" ] || die "cannot unpack $0 into $cache: no space, or the file is damaged"
  # Two first starts at once: the one that comes second finds the folder taken, and what is in it is the same.
  mv "$new" "$app" 2>/dev/null || [ -x "$app/deno" ] || die "cannot rename $new"
  rm -rf "$new" "$app/.unpacking-$$"
  trap - EXIT INT TERM
fi
[ -O "$app" ] || die "$app belongs to somebody else"
check "$app"
export DENO_DIR="$app/cache" DENO_NO_UPDATE_CHECK=1
exec "$app/deno" run --quiet --allow-all --no-config --no-lock --no-remote --no-npm "$app/busbar.js" "$@"
