# packages: default-jdk-headless
source_of() {
    cat >Side.java <<'P'
import java.io.*; import java.net.*; import java.nio.*; import java.nio.channels.*; import java.util.*; import java.util.concurrent.*;
public class Side {
  static void serve(String address) throws Exception {
    try (ServerSocket server = new ServerSocket()) {
      server.setReuseAddress(true); server.bind(new InetSocketAddress(address, 17020), 100);
      ExecutorService pool = Executors.newCachedThreadPool();
      DatagramSocket udp = new DatagramSocket(new InetSocketAddress(address, 17021));
      Thread t = new Thread(() -> { try { byte[] b = new byte[9000]; for (;;) { DatagramPacket p = new DatagramPacket(b, b.length); udp.receive(p); udp.send(p); } } catch (IOException e) {} });
      t.setDaemon(true); t.start();
      for (;;) {
        Socket s = server.accept();
        pool.submit(() -> { try (s) { BufferedReader in = new BufferedReader(new InputStreamReader(s.getInputStream())); PrintWriter out = new PrintWriter(s.getOutputStream(), true); String line;
          while ((line = in.readLine()) != null) out.println(line.length() + " " + line.hashCode()); } catch (IOException e) {} });
      }
    }
  }
  static Socket connect(String address) throws Exception {
    for (int i = 0; ; i++) try { return new Socket(address, 17020); } catch (ConnectException e) { if (i == 250) throw e; Thread.sleep(100); }
  }
  static void ask(String address) throws Exception {
    connect(address).close();
    ExecutorService pool = Executors.newFixedThreadPool(8); List<Future<String>> all = new ArrayList<>();
    for (int n = 0; n < 24; n++) { final int k = n; all.add(pool.submit(() -> { try (Socket s = connect(address)) { s.setTcpNoDelay(true);
      BufferedReader in = new BufferedReader(new InputStreamReader(s.getInputStream())); PrintWriter out = new PrintWriter(s.getOutputStream(), true); String last = "";
      for (int i = 0; i < 20; i++) { out.println("x".repeat(k * i * 10)); last = in.readLine(); } return last; } })); }
    for (Future<String> f : all) System.out.println(f.get());
    try (SocketChannel c = SocketChannel.open(new InetSocketAddress(address, 17020)); Selector sel = Selector.open()) {
      c.configureBlocking(false); c.register(sel, SelectionKey.OP_READ); c.write(ByteBuffer.wrap("nio\n".getBytes()));
      sel.select(60000); ByteBuffer b = ByteBuffer.allocate(100); c.read(b); System.out.print(new String(b.array(), 0, b.position())); }
    try (DatagramSocket u = new DatagramSocket()) { u.setSoTimeout(1000); byte[] b = new byte[5000]; Arrays.fill(b, (byte) 7);
      for (int i = 0; i < 20; i++) { u.send(new DatagramPacket(b, b.length, InetAddress.getByName(address), 17021)); DatagramPacket p = new DatagramPacket(new byte[9000], 9000);
        try { u.receive(p); System.out.println("datagram " + p.getLength()); break; } catch (SocketTimeoutException e) {} } }
    try { new Socket(address, 17099); } catch (ConnectException e) { System.out.println(e.getMessage()); }
    pool.shutdown();
  }
  public static void main(String[] a) throws Exception { if (a[0].equals("serve")) serve(a[1]); else ask(a[1]); }
}
P
    [ -e Side.class ] || javac Side.java
}
serve() { source_of; java -Xshare:auto -XX:TieredStopAtLevel=1 Side serve "$address" & server=$!; }
ask() { source_of; java -XX:TieredStopAtLevel=1 Side ask "$address"; }
stop() { finish $server; }
