# packages: apache2-bin lighttpd haproxy curl php-cli
mkdir -p w; seq 3000 >w/n; echo '<?php echo "php ", 6 * 7, " ", $_SERVER["REQUEST_METHOD"]; ?>' >w/i.php
M=/usr/lib/apache2/modules
for mpm in event worker; do
{ echo "ServerRoot $PWD"; echo "PidFile $PWD/pid.$mpm"; echo "Listen 127.0.0.1:17032"; echo ServerName x; echo "ErrorLog $PWD/elog"; echo "Mutex file:$PWD";
for m in mpm_$mpm authz_core dir mime autoindex; do echo "LoadModule ${m}_module $M/mod_$m.so"; done
echo "DocumentRoot $PWD/w"; echo "TypesConfig /etc/mime.types"; echo "User www-data"; echo "Group www-data"; } >a.conf; chmod 755 . w
/usr/sbin/apache2 -f $PWD/a.conf -DFOREGROUND & S=$!; for i in $(seq 100); do curl -sf http://127.0.0.1:17032/n | sha256sum && [ ${PIPESTATUS[0]} = 0 ] && break; sleep 0.1; done | tail -n 1
C=; for i in $(seq 20); do curl -s http://127.0.0.1:17032/n -o got.$i & C="$C $!"; done; wait $C; cat got.* | sha256sum; [ $mpm = prefork ] || kill -USR1 $S; sleep 0.5; curl -sf --retry 9 --retry-connrefused http://127.0.0.1:17032/n | md5sum; kill $S; wait $S; echo $?
done
printf 'server.document-root = "%s/w"\nserver.port = 17033\nserver.bind = "127.0.0.1"\n' $PWD >l.conf; lighttpd -D -f l.conf & L=$!
php -S 127.0.0.1:17034 -t w >/dev/null 2>&1 & P=$!
printf 'global\n maxconn 100\ndefaults\n mode http\n timeout connect 5s\n timeout client 9s\n timeout server 9s\nfrontend f\n bind 127.0.0.1:17035\n use_backend p if { path_end .php }\n default_backend b\nbackend b\n balance roundrobin\n server one 127.0.0.1:17033\nbackend p\n server two 127.0.0.1:17034\n' >h.cfg
haproxy -f h.cfg -db >/dev/null 2>&1 & H=$!
for u in n i.php; do for i in $(seq 100); do curl -sf http://127.0.0.1:17035/$u -o got && break; sleep 0.1; done; sha256sum <got; done
kill $H; wait $H; echo $?; kill $L; wait $L; kill $P; wait $P; echo $?
