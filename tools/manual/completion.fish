# The words of the command line so far, without options.
function __NAME_plain
    string match -v -- '-*' (commandline -opc)[2..-1]
end
# True when these words, and no others, have been typed: a subcommand of theirs is to come.
function __NAME_just
    set -l plain (__NAME_plain)
    test "$plain" = "$argv"
end
# True when the line begins with these words.
function __NAME_in
    set -l plain (__NAME_plain)
    set -l depth (count $argv)
    test $depth -eq 0; and return 0
    test (count $plain) -ge $depth; and test "$plain[1..$depth]" = "$argv"
end
# True when the line begins with the words after the first, and this many more, or more than that.
function __NAME_past
    __NAME_in $argv[2..-1]; and test (count (__NAME_plain)) -ge (math (count $argv[2..-1]) + $argv[1])
end
# The same, and no more than that: the argument of this number is to come.
function __NAME_nth
    __NAME_in $argv[2..-1]; and test (count (__NAME_plain)) -eq (math (count $argv[2..-1]) + $argv[1])
end
function __NAME_devices
    set -l addresses (command ls /sys/bus/pci/devices 2>/dev/null)
    set -l names (command ls /sys/class/nvme 2>/dev/null)
    printf '%s\n' $addresses (string replace -r '^0000:' '' -- $addresses) $names soft:nvme file:
end
# Names of files that begin like these paths.
function __NAME_names
    for prefix in $argv
        for path in $prefix*
            string replace -r '.*/' '' -- $path
        end
    end
end
