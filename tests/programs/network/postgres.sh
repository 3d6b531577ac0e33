# packages: postgresql
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
pg() { setpriv --reuid=postgres --regid=postgres --clear-groups env -i PATH="$bin:/usr/bin:/bin" LC_ALL=C "$@"; }
serve() {
    D=$(mktemp -d /tmp/pg.XXXXXX); chown postgres "$D"; cd "$D"
    pg initdb -D "$D/data" -A trust >log 2>&1; echo "host all all all trust" >>"$D/data/pg_hba.conf"
    setpriv --reuid=postgres --regid=postgres --clear-groups "$bin/postgres" -D "$D/data" -p 17010 -k "$D" -c "listen_addresses=$address" -c fsync=off >server.log 2>&1 & server=$!
}
sql() { pg psql -h "$address" -p 17010 -qAt -d postgres "$@"; }
ask() {
    cd /; patiently sql -c 'select 1'
    sql -c 'create table t(a int, b text)' -c "insert into t select i, md5(i::text) from generate_series(1, 20000) i" -c 'select count(*), min(b) from t' -c 'create index on t(b)' -c 'vacuum analyze t'
    sql -c 'copy t to stdout' | sha256sum; sql -c 'copy t to stdout' | sql -c 'copy t from stdin' -c 'select count(*), max(b) from t'
    pg pgbench -h "$address" -p 17010 -i -q postgres 2>/dev/null; pg pgbench -h "$address" -p 17010 -c 8 -j 2 -t 20 postgres 2>/dev/null | grep 'transactions actually'
    pg pgbench -h "$address" -p 17010 -S -C -c 8 -j 2 -t 10 postgres 2>/dev/null | grep 'transactions actually'
}
stop() { kill -INT $server; wait $server; echo "ended: $?"; cd /; rm -rf "$D"; }
