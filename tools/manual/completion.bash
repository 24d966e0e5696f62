# Names of files that begin like these paths.
_NAME_names() { # PREFIX...
  local prefix path
  for prefix; do
    for path in "$prefix"*; do [[ -e $path ]] && printf '%s\n' "${path##*/}"; done
  done
}

# What may stand for a kind of word, one in each line.
_NAME_list() { # KIND WORD
  case $1 in
  file) compgen -f -- "$2" ;;
  folder) compgen -d -- "$2" ;;
  command) compgen -c -- "$2" ;;
  machine)
    compgen -W 'MACHINES' -- "$2"
    compgen -f -X '!*.y*ml' -- "$2"
    ;;
  device)
    case $2 in
    file:*) compgen -P file: -f -- "${2#file:}" ;;
    /*) compgen -f -- "$2" ;;
    *)
      compgen -W "$(ls /sys/bus/pci/devices /sys/class/nvme 2>/dev/null | grep -v :$) soft:nvme file:" -- "$2"
      # Domain 0000 may be left out.
      compgen -W "$(cd /sys/bus/pci/devices 2>/dev/null && printf '%s\n' 0000:* | sed -n 's/^0000:\(.\)/\1/p')" -- "$2"
      ;;
    esac
    ;;
  =*) compgen -W "${1//[=,]/ }" -- "$2" ;;
  @*) compgen -W "$(_NAME_names ${1//[@,]/ })" -- "$2" ;;
  esac
}

_NAME() {
  # Bash splits words at : and =, which addresses and options have in them; so the line is split again, at blanks.
  local line=${COMP_LINE:0:COMP_POINT} path=/ position=0 dashes= wanted= value= word= kinds current prefix= kind=
  local -a words
  read -ra words <<<"$line"
  [[ $line == *[[:blank:]] ]] && words+=("")
  current=${words[${#words[@]} - 1]}
  for word in "${words[@]:1:${#words[@]} - 2}"; do
    if [[ $wanted && ! ( $wanted == \?* && $word == -* ) ]]; then
      wanted=
      continue
    fi
    wanted=
    if [[ ! $dashes && $word == -- ]]; then
      dashes=1
    elif [[ ! $dashes && $word == -* ]]; then
      [[ $word == *=* ]] || wanted=${_NAME_values["$path $word"]}
    elif [[ ! $dashes && $position == 0 && " ${_NAME_commands["$path"]} " == *" $word "* ]]; then
      [[ $path == / ]] && path=/$word || path="$path $word"
    else
      position=$((position + 1))
    fi
  done
  COMPREPLY=()
  if [[ $wanted ]]; then
    kind=${wanted#\?}
    mapfile -t COMPREPLY < <(_NAME_list "${wanted#\?}" "$current")
    [[ $wanted == \?* ]] || kinds=none
  elif [[ ! $dashes && $current == -*=* ]]; then
    value=${_NAME_values["$path ${current%%=*}"]}
    kind=${value#\?}
    prefix=${current%%=*}=
    current=${current#*=}
    mapfile -t COMPREPLY < <(_NAME_list "${value#\?}" "$current")
    kinds=none
  fi
  if [[ $kinds != none ]]; then
    if [[ ! $dashes && $current == -* ]]; then
      mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W "${_NAME_options["$path"]}" -- "$current")
    else
      [[ $position == 0 ]] &&
        mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W "${_NAME_commands["$path"]}" -- "$current")
      read -ra kinds <<<"${_NAME_arguments["$path"]}"
      word=${kinds[position]}
      [[ ! $word && ${#kinds[@]} != 0 && ${kinds[${#kinds[@]} - 1]} == *\* ]] && word=${kinds[${#kinds[@]} - 1]}
      [[ $word == command\* && $position -ge ${#kinds[@]} ]] && word=file
      kind=${word%\*}
      mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(_NAME_list "$kind" "$current")
    fi
  fi
  # Readline replaces what comes behind the last of these.
  if [[ $prefix ]]; then
    [[ $COMP_WORDBREAKS == *=* ]] || COMPREPLY=("${COMPREPLY[@]/#/$prefix}")
  fi
  if [[ $current == *:* && $COMP_WORDBREAKS == *:* ]]; then
    prefix=${current%"${current##*:}"}
    COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
  fi
  # A file name goes on, and so do file: and an option that ends with =. A word of the tool's own does not, although
  # there may be a folder of that name.
  [[ $kind == =* || " ${_NAME_commands["$path"]} " == *" ${COMPREPLY[0]} "* ]] && return 0
  [[ ${#COMPREPLY[@]} == 1 && ( -d ${COMPREPLY[0]} || ${COMPREPLY[0]} == *: ) ]] && compopt -o nospace
  [[ ${#COMPREPLY[@]} == 1 && -d ${COMPREPLY[0]} ]] && COMPREPLY=("${COMPREPLY[0]}/")
  return 0
}

complete -F _NAME NAME
