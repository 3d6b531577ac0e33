"""Servers under load, for bench.py: each with its client in one sandbox, over its loopback.

A row whose programs are not installed is named as such. A rate is what the client itself says.
"""

import glob
import os
import re
import shutil
import statistics
import subprocess

REDIS = r"""
cd "$(mktemp -d)"
redis-server --port 7391 --save "" --appendonly no >/dev/null 2>&1 &
for i in $(seq 100); do redis-cli -p 7391 ping >/dev/null 2>&1 && break; sleep 0.1; done
redis-benchmark -p 7391 -c 20 -n 4000 -t set,get -q | tr '\r' '\n' | grep 'per second'
redis-cli -p 7391 shutdown nosave
wait
"""

NGINX = r"""
D=$(mktemp -d); cd "$D"; chmod 755 .; mkdir www; head -c 600 /dev/zero | tr '\0' x > www/index.html
cat > conf <<P
daemon off; worker_processes 1; error_log /dev/null; pid $D/pid; events {}
http { access_log off; client_body_temp_path $D/a; proxy_temp_path $D/b; fastcgi_temp_path $D/c;
uwsgi_temp_path $D/d; scgi_temp_path $D/e; server { listen 127.0.0.1:7392; root $D/www; } }
P
nginx -p "$D" -c conf >/dev/null 2>&1 &
sleep 0.5
wrk -t 1 -c 10 -d 1 http://127.0.0.1:7392/ | grep Requests/sec
kill $!
wait
"""

# PostgreSQL refuses to be root.
PGBENCH = r"""
D=$(mktemp -d); cd "$D"; chmod 755 .; mkdir data
AS=""
if [ "$(id -u)" = 0 ]; then chown -R nobody .; AS="setpriv --reuid=nobody --regid=nogroup --clear-groups"; fi
BIN="$1"
HOME="$D" $AS "$BIN/initdb" -D data -A trust -U bench >/dev/null
printf "listen_addresses='127.0.0.1'\nport=7393\nunix_socket_directories=''\nfsync=off\n" >> data/postgresql.conf
$AS "$BIN/pg_ctl" -D data -l log -w start >/dev/null
"$BIN/pgbench" -h 127.0.0.1 -p 7393 -U bench -i -q postgres >/dev/null 2>&1
"$BIN/pgbench" -h 127.0.0.1 -p 7393 -U bench -c 8 -t 60 postgres 2>/dev/null | grep ^tps
$AS "$BIN/pg_ctl" -D data -m fast -w stop >/dev/null
"""


def postgres_folder():
    """Where initdb is, beside its kin; None."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/pgbench"))
    return os.path.dirname(found[-1]) if found else None


# Programs that it needs, the script, and what of its output is a rate: a title and a pattern.
SERVERS = [
    (("redis-server", "redis-cli", "redis-benchmark"), REDIS,
     [("redis SET, 20 clients", r"SET: ([\d.]+)"), ("redis GET, 20 clients", r"GET: ([\d.]+)")]),
    (("nginx", "wrk"), NGINX, [("nginx, 600 bytes, 10 connections", r"Requests/sec: *([\d.]+)")]),
    (("setpriv",), PGBENCH, [("pgbench, 8 clients", r"tps = ([\d.]+)")]),
]


def missing(programs, script):
    if script is PGBENCH and not postgres_folder():
        return "pgbench"
    return next((name for name in programs if not shutil.which(name)), None)


def rates(bench, where, script, patterns):
    """One run: a rate for each pattern; 0 for what was not said."""
    words = ["bash", "-c", script, "bench", postgres_folder() or ""]
    try:
        out = subprocess.run(bench.command(where, words), capture_output=True, text=True, timeout=90,
                             check=False).stdout
    except subprocess.TimeoutExpired:
        out = ""
    found = [re.search(pattern, out) for _, pattern in patterns]
    return [float(match.group(1)) if match else 0.0 for match in found]


def print_servers(bench, places, rounds, row):
    """Operations per second, and how much of native's that is."""
    print(row("server and client, operations a second", *places))
    print(row("---", *["---:"] * len(places)))
    for programs, script, patterns in SERVERS:
        lacks = missing(programs, script)
        if lacks:
            for title, _ in patterns:
                print(row(title, f"skipped: no {lacks}", *["-"] * (len(places) - 1)))
            continue
        runs = {where: [] for where in places}
        for number in range(rounds):
            for where in places[number % len(places):] + places[:number % len(places)]:
                runs[where].append(rates(bench, where, script, patterns))
        for index, (title, _) in enumerate(patterns):
            medians = [statistics.median(run[index] for run in runs[where]) for where in places]
            cells = [f"{medians[0]:.0f}"]
            for here in medians[1:]:
                share = f" ({here / medians[0]:.2f})" if medians[0] else ""
                cells.append(f"{here:.0f}{share}" if here else "failed")
            print(row(title, *cells), flush=True)
