# packages: openssl
# again: --network=host
openssl version | cut -d' ' -f1; echo hi | openssl dgst -sha256; openssl genrsa -out k 2048 2>/dev/null; openssl rsa -in k -check -noout
head -c 100000 /dev/zero | openssl enc -aes-256-cbc -pbkdf2 -k x -S 0011223344556677 | sha256sum; openssl rand -hex 8 | wc -c
openssl req -x509 -key k -out c.pem -days 2 -subj /CN=x -sha256 && openssl x509 -in c.pem -noout -subject && openssl verify -CAfile c.pem c.pem
openssl s_server -accept 17009 -key k -cert c.pem -www >/dev/null 2>&1 & S=$!
for i in $(seq 50); do printf 'GET / HTTP/1.0\r\n\r\n' | openssl s_client -quiet -connect 127.0.0.1:17009 2>/dev/null | head -n 1 | grep . && break; sleep 0.1; done; kill $S; wait $S || echo $?
