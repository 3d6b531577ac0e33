# packages: python3
# again: --network=host
python3 - <<'P'
import ctypes, mmap, os, signal, sqlite3, subprocess, tempfile, threading
print(subprocess.check_output(["echo", "x"]), subprocess.run("exit 3", shell=True).returncode)
found = []
threads = [threading.Thread(target=found.append, args=(i,)) for i in range(50)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sum(found))
with tempfile.NamedTemporaryFile() as f:
    f.write(b"a" * 8192)
    f.flush()
    m = mmap.mmap(f.fileno(), 0)
    m[4095:4097] = b"zz"
    m.flush()
    print(open(f.name, "rb").read().count(b"a"))
db = sqlite3.connect("t.db")
print(db.execute("pragma journal_mode=wal").fetchone())
db.execute("create table t(a)")
db.executemany("insert into t values(?)", [(i,) for i in range(1000)])
db.commit()
print(sqlite3.connect("t.db").execute("select sum(a) from t").fetchone())
print(ctypes.CDLL(None).strlen(b"hello"), ctypes.CDLL(None, use_errno=True).getppid() == os.getppid())
alarms = []
signal.signal(signal.SIGALRM, lambda *_: alarms.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
signal.pause()
signal.setitimer(signal.ITIMER_REAL, 0)
print("alarm", len(alarms) > 0)
P
cat >pool.py <<'P'
import multiprocessing, sys
def square(x):
    return x * x
if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    with multiprocessing.Pool(3) as pool:
        print(sys.argv[1], pool.map(square, range(10)))
    queue = multiprocessing.Queue()
    p = multiprocessing.Process(target=queue.put, args=([1, 2],))
    p.start(); print(queue.get()); p.join(); print(p.exitcode)
P
for method in fork spawn forkserver; do python3 pool.py $method; done
python3 - <<'P'
import asyncio
async def serve(reader, writer):
    writer.write(await reader.readline()); await writer.drain(); writer.close()
async def main():
    child = await asyncio.create_subprocess_exec("echo", "hi", stdout=asyncio.subprocess.PIPE)
    print((await child.communicate())[0], await asyncio.gather(*[asyncio.sleep(0.01, i) for i in range(5)]))
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async def ask(i):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"%d\n" % i)
        answer = int(await reader.readline())
        writer.close()
        return answer
    print(sum(await asyncio.gather(*map(ask, range(100)))))
    server.close()
asyncio.run(main())
P
python3 -m venv --without-pip v && v/bin/python -c 'import sys; print(sys.prefix != sys.base_prefix)'
python3 -m zipfile -c z.zip pool.py && python3 -m zipfile -t z.zip; python3 -m timeit -n 1 -r 1 pass >t; wc -l <t
