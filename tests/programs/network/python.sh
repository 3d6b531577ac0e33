# packages: python3 curl
serve() {
    seq 1 100000 >numbers
    # It asks for the address's name; nobody answers.
    RES_OPTIONS='timeout:1 attempts:1' python3 -m http.server 17016 --bind "$address" >log 2>&1 & http=$!
    python3 - "$address" <<'P' & server=$!
import asyncio, socket, sys
class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport
    def datagram_received(self, data, addr):
        self.transport.sendto(data[::-1], addr)
async def one(reader, writer):
    while data := await reader.readline():
        writer.write(data.upper())
        await writer.drain()
    writer.close()
async def reset(reader, writer):
    await reader.readline()
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()
async def main():
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Datagrams, local_addr=(sys.argv[1], 17018))
    await asyncio.start_server(reset, sys.argv[1], 17019)
    await (await asyncio.start_server(one, sys.argv[1], 17017, backlog=1000)).serve_forever()
asyncio.run(main())
P
}
ask() {
    patiently curl -sf "http://$host:17016/numbers" | sha256sum
    python3 - "$address" "$host" <<'P'
import asyncio, hashlib, socket, sys, urllib.request
address, host = sys.argv[1:]
for _ in range(5):
    print(hashlib.sha256(urllib.request.urlopen(f"http://{host}:17016/numbers", timeout=60).read()).hexdigest()[:16])
async def up():
    for _ in range(150):
        try:
            return await asyncio.open_connection(address, 17017)
        except OSError:
            await asyncio.sleep(0.1)
async def one(n):
    reader, writer = await asyncio.open_connection(address, 17017)
    for i in range(5):
        line = b"line %d of %d " % (i, n) + b"x" * (i * 1000) + b"\n"
        writer.write(line)
        assert await reader.readline() == line.upper()
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    return n
async def datagrams():
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setblocking(False)
        await loop.sock_connect(s, (address, 17018))
        for size in 1, 1000, 1472, 1473, 4000, 9000, 13000:
            for _ in range(20):
                await loop.sock_sendall(s, b"d" * (size - 1) + b"!")
                try:
                    got = await asyncio.wait_for(loop.sock_recv(s, 65536), 1)
                except asyncio.TimeoutError:
                    continue
                break
            print(size, len(got), got[:1])
async def main():
    reader, writer = await up()
    writer.close()
    print(sum(await asyncio.gather(*(one(n) for n in range(200)))))
    await datagrams()
    reader, writer = await asyncio.open_connection(address, 17019)
    writer.write(b"go\n")
    try:
        print(await reader.read())
    except ConnectionResetError as error:
        print(error)
asyncio.run(main())
P
}
stop() { finish $http; finish $server; }
