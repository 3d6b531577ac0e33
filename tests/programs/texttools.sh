# packages: findutils grep sed gawk diffutils
mkdir -p a/b/c; for i in $(seq 30); do echo "line $i of $((i % 7))" >a/b/f$i; done; touch -d @0 a/old
find a -name 'f1*' | sort; find a -type f -newermt 2000-01-01 | wc -l; find a -size -1 -o -empty | sort
find a -type f -print0 | sort -z | xargs -0 -n 7 -P 3 cat | sort | md5sum; find a -name 'f2?' -exec grep -l 'of 3' {} + | sort
grep -rn 'of 6' a | sort; grep -c . a/b/f1; grep -P '(?<=line )\d+$' a/b/f1 || echo none; grep -E 'line (1|2)' -o a/b/f12
sed -n '1s/line \([0-9]*\)/<\1>/p' a/b/f5; sed -i.bak 's/of/OF/' a/b/f5; cat a/b/f5 a/b/f5.bak; seq 10 | sed '2~3d;$!N;P;D'
gawk 'BEGIN { "echo from a command" | getline x; print x; print strftime("%F", 0, 1) } { s += $2 } END { print s }' a/b/*[0-9]
gawk 'BEGIN { s = "sort"; for (i = 5; i; i--) print i | s; close(s); print PROCINFO["version"] }'
diff -u a/b/f1 a/b/f2 | tail -n +3; cmp a/b/f1 a/b/f2 || true; find a -depth -delete; ls
