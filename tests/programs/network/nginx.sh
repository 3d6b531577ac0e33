# packages: nginx-light|nginx curl wrk
serve() {
    mkdir -p logs www; echo page >www/index.html; head -c 3000000 /dev/zero | tr '\0' y >www/big
    cat >n.conf <<P
daemon off; error_log stderr; pid $PWD/n.pid; worker_processes 2; user root;
events {}
http { access_log off; client_body_temp_path $PWD/t; proxy_temp_path $PWD/t1; fastcgi_temp_path $PWD/t2; uwsgi_temp_path $PWD/t3; scgi_temp_path $PWD/t4;
  sendfile on; gzip on; gzip_types *; client_max_body_size 9m;
  server { listen $host:17006; root $PWD/www; location /p/ { proxy_pass http://$host:17006/; } } }
P
    nginx -p "$PWD" -c n.conf >log 2>&1 & server=$!
}
ask() {
    patiently curl -sf "http://$host:17006/"
    curl -s "http://$host:17006/big" | sha256sum; curl -s --compressed "http://$host:17006/big" | sha256sum
    curl -s -r 1000000-1999999 "http://$host:17006/big" | sha256sum
    curl -s "http://$host:17006/p/index.html" "http://$host:17006/" "http://$host:17006/"
    curl -s -o /dev/null -w '%{http_code}\n' "http://$host:17006/none"
    wrk -t1 -c10 -d1 "http://$host:17006/" | grep -c Requests/sec
    wrk -t1 -c10 -d1 "http://$host:17006/" | grep 'Socket errors\|Non-2xx'
    wrk -t1 -c4 -d1 "http://$host:17006/big" | grep 'Socket errors\|Non-2xx'
    true
}
stop() { kill -QUIT $server; wait $server; echo $?; }
