# side.sh serve|ask|both ADDRESS SCRIPT: one side of a group of this folder, or both, in an empty folder.
#
# SCRIPT defines serve (starts servers in the background, at $address; $host in URLs), ask (the client, which
# waits for them by `patiently`) and stop (ends them and says how they ended). A server stays until standard
# input ends. Nothing may be printed that differs between runs or addresses.
address=$2
case $address in *:*) host=[$address] v6=1 ;; *) host=$address v6= ;; esac

patiently() { # COMMAND...: until it succeeds, what it printed last
    local i out
    for i in $(seq 150); do
        out=$("$@" 2>/dev/null) && break
        sleep 0.1
    done
    [ -z "$out" ] || printf '%s\n' "$out"
}

finish() { # PID: ends a server that was started in the background
    kill "$1"
    wait "$1"
    echo "ended: $?"
}

. "$3"
case $1 in
serve) serve; read -r _; stop ;;
ask) ask ;;
both) serve; ask; stop ;;
esac
