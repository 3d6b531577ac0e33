# packages: nginx-light|nginx curl wrk
# again: --network=host
mkdir -p logs www; echo page >www/index.html; head -c 3000000 /dev/zero >www/big
cat >n.conf <<P
daemon off; error_log stderr; pid $PWD/n.pid; worker_processes 2;
events {}
http { access_log off; client_body_temp_path $PWD/t; proxy_temp_path $PWD/t1; fastcgi_temp_path $PWD/t2; uwsgi_temp_path $PWD/t3; scgi_temp_path $PWD/t4;
  sendfile on; gzip on;
  server { listen 127.0.0.1:17006; root $PWD/www; location /p/ { proxy_pass http://127.0.0.1:17006/; } } }
P
nginx -p $PWD -c n.conf >log 2>&1 & S=$!; for i in $(seq 50); do curl -sf http://127.0.0.1:17006/ && break; sleep 0.1; done
curl -s http://127.0.0.1:17006/big | sha256sum; curl -s http://127.0.0.1:17006/p/index.html; curl -s -o /dev/null -w '%{http_code}\n' http://127.0.0.1:17006/none
wrk -t1 -c10 -d1 http://127.0.0.1:17006/ | grep -c Requests/sec; kill -HUP $S; sleep 0.3; curl -s http://127.0.0.1:17006/; kill -QUIT $S; wait $S; echo $?
