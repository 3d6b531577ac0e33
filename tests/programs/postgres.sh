# packages: postgresql
# again: --network=host
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1); D=$(mktemp -d /tmp/pg.XXXXXX); chown postgres $D; cd $D
pg() { setpriv --reuid=postgres --regid=postgres --clear-groups env -i PATH=$bin:/usr/bin:/bin LC_ALL=C "$@"; }
pg initdb -D $D/data -A trust >log 2>&1 && tail -n 1 log | wc -l
pg pg_ctl -D $D/data -o "-p 17010 -k $D -c listen_addresses=127.0.0.1 -c fsync=off" -l $D/server.log -w start >/dev/null; echo $?
pg psql -h $D -p 17010 -qAt -d postgres -c 'create table t(a int, b text)' -c "insert into t select i, md5(i::text) from generate_series(1, 1000) i" -c 'select count(*), min(b) from t' -c 'create index on t(b)' -c 'vacuum analyze t'
pg pgbench -h 127.0.0.1 -p 17010 -i -q postgres 2>/dev/null; pg pgbench -h 127.0.0.1 -p 17010 -c 8 -j 2 -t 20 postgres 2>/dev/null | grep 'transactions actually'
pg pg_ctl -D $D/data -m fast stop >/dev/null; echo $?; cd /; rm -rf $D
