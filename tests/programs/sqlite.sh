# packages: sqlite3
sqlite3 t.db 'pragma journal_mode=wal; create table t(a integer primary key, b); with recursive c(x) as (select 1 union all select x + 1 from c where x < 20000) insert into t select x, x * x from c; create index i on t(b); select count(*), sum(b) from t; pragma integrity_check;'
for i in 1 2 3 4; do for j in $(seq 20); do echo "pragma busy_timeout=20000; insert into t(b) values($i);"; done | sqlite3 t.db >/dev/null & done; wait
sqlite3 t.db 'select count(*) from t; pragma wal_checkpoint(truncate); vacuum; pragma integrity_check; delete from t where a % 2; select count(*) from t'
for mode in delete truncate persist memory off; do sqlite3 $mode.db "pragma journal_mode=$mode; begin; create table x(y); insert into x values(1),(2); rollback; create table x(y); insert into x values(3); select * from x"; done
sqlite3 t.db 'select b from t where a <= 20000 order by b' | md5sum # of the others, which are left is chance
sqlite3 t.db 'select count(*) from t where b < 5'; sqlite3 t.db '.backup b.db'; sqlite3 b.db 'select count(*) from t'
