# packages: nodejs
serve() {
    cat >s.js <<'P'
const http = require('http'), net = require('net'), dgram = require('dgram'), crypto = require('crypto');
const address = process.argv[2];
http.createServer((q, r) => {
  const hash = crypto.createHash('sha256');
  q.on('data', d => hash.update(d)).on('end', () => {
    if (q.url === '/big') { r.end(Buffer.alloc(2000000, 'z')); return; }
    r.end(JSON.stringify({ url: q.url, method: q.method, sum: hash.digest('hex') }));
  });
}).listen(17013, address);
net.createServer({ allowHalfOpen: true }, s => s.pipe(s)).listen(17014, address);
const udp = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
udp.on('message', (m, from) => udp.send(m, from.port, from.address)).bind(17015, address);
process.on('SIGTERM', () => process.exit(3));
P
    node s.js "$address" & server=$!
}
ask() {
    cat >c.js <<'P'
const http = require('http'), net = require('net'), dgram = require('dgram'), crypto = require('crypto');
const host = process.argv[2], agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
const sum = b => crypto.createHash('sha256').update(b).digest('hex').slice(0, 16);
const ask = (path, method, body) => new Promise((done, fail) => {
  const q = http.request({ host, port: 17013, path, method, agent }, r => {
    const parts = []; r.on('data', d => parts.push(d)).on('end', () => done(Buffer.concat(parts)));
  }).on('error', fail); q.end(body);
});
const up = async () => { for (let i = 0; i < 150; i++) try { return await ask('/up', 'GET'); } catch { await new Promise(r => setTimeout(r, 100)); } };
(async () => {
  console.log(String(await up()));
  const all = await Promise.all(Array.from({ length: 200 }, (_, i) => ask('/' + i, 'GET')));
  console.log(sum(Buffer.concat(all)));
  console.log(sum(await ask('/big', 'GET')), String(await ask('/up', 'POST', Buffer.alloc(1500000, 'q'))));
  await new Promise(done => { let got = 0; const s = net.connect(17014, host, () => s.end(Buffer.alloc(700000, 'e')));
    s.on('data', d => got += d.length).on('end', () => { console.log('echo', got); done(); }); });
  await new Promise(done => { const u = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4');
    const t = setInterval(() => u.send('datagram', 17015, host), 100);
    u.on('message', m => { clearInterval(t); console.log(String(m)); u.close(); done(); }); });
  await new Promise(done => net.connect(17099, host).on('error', e => { console.log(e.code); done(); }));
  agent.destroy();
})();
P
    node c.js "$address"
}
stop() { finish $server; }
