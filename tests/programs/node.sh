# packages: nodejs
# again: --network=host
node -e 'const fs = require("fs"); fs.writeFileSync("x", "a"); console.log(fs.readFileSync("x", "utf8")); require("child_process").exec("echo c", (e, o) => console.log(o))'
node -e 'const { Worker } = require("worker_threads"); new Worker("const { parentPort } = require(\"worker_threads\"); parentPort.postMessage(42)", { eval: true }).on("message", console.log)'
node -e 'const h = require("http"); const s = h.createServer((q, r) => r.end("ok " + q.url)).listen(0, "127.0.0.1", () => h.get({ port: s.address().port, host: "127.0.0.1", path: "/x" }, r => { let d = ""; r.on("data", c => d += c); r.on("end", () => { console.log(d); s.close() }) }))'
node -e 'const c = require("crypto"); c.pbkdf2("a", "b", 1000, 16, "sha256", (e, k) => console.log(k.toString("hex"))); const z = require("zlib"); z.gzip(Buffer.alloc(1e6), (e, b) => console.log(z.gunzipSync(b).length))'
node -e 'const fs = require("fs"); fs.mkdirSync("w"); const t = fs.watch("w", (e, f) => { console.log(e, f); t.close() }); setTimeout(() => fs.writeFileSync("w/new", ""), 50)'
node -e 'const { fork } = require("child_process"); if (process.send) { process.send("from " + process.argv[2]) } else { }' && cat >parent.js <<'J'
const { fork } = require("child_process");
if (process.argv[2]) { process.on("message", m => { process.send(m * 2); process.disconnect() }) }
else { const c = fork(__filename, ["child"]); c.on("message", m => console.log(m)); c.send(21); c.on("exit", s => console.log("exit", s)) }
J
node parent.js
