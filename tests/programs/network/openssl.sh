# packages: openssl curl
serve() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout k.pem -out c.pem -days 9 -subj /CN=test >/dev/null 2>&1
    seq 1 200000 >numbers
    openssl s_server -accept "$host:17011" -cert c.pem -key k.pem -WWW -quiet >log 2>&1 & files=$!
    openssl s_server -accept "$host:17012" -cert c.pem -key k.pem -rev -quiet >log2 2>&1 & rev=$!
}
ask() {
    patiently curl -skf "https://$host:17011/numbers" | sha256sum
    for v in 1.2 1.3; do curl -sk --tls-max $v --tlsv$v "https://$host:17011/numbers" | sha256sum; done
    (printf 'GET /numbers HTTP/1.0\r\n\r\n'; sleep 1) | openssl s_client -quiet -connect "$host:17011" 2>/dev/null | tail -n 1
    for v in -tls1_2 -tls1_3; do printf 'hello\nCLOSE\n' | openssl s_client -quiet $v -connect "$host:17012" 2>/dev/null; done
    openssl s_time -connect "$host:17011" -new -time 1 -www /numbers 2>/dev/null | grep -c 'connections in'
}
stop() { kill $files $rev; wait $files $rev; echo stopped; }
