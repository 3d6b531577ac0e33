# packages: openjdk-17-jdk-headless
# again: --network=host
cat >Main.java <<'P'
import java.io.*;
import java.net.*;
import java.nio.file.*;
import java.util.concurrent.*;
import java.util.stream.*;
public class Main {
    public static void main(String[] a) throws Exception {
        var pool = Executors.newFixedThreadPool(4);
        System.out.println(pool.submit(() -> IntStream.range(0, 1000).parallel().sum()).get());
        pool.shutdown();
        try (var server = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
            var t = new Thread(() -> { try (var s = server.accept()) { s.getOutputStream().write("hello\n".getBytes()); } catch (IOException e) { throw new RuntimeException(e); } });
            t.start();
            try (var c = new Socket(InetAddress.getLoopbackAddress(), server.getLocalPort())) {
                System.out.println(new BufferedReader(new InputStreamReader(c.getInputStream())).readLine());
            }
            t.join();
        }
        Files.writeString(Path.of("x"), "text");
        System.out.println(Files.readString(Path.of("x")) + Files.size(Path.of("x")));
        System.out.println(new String(new ProcessBuilder("echo", "child").start().getInputStream().readAllBytes()).trim());
        int[] n = new int[1]; try { recurse(n); } catch (StackOverflowError e) { System.out.println("overflow " + (n[0] > 500)); }
        Object o = null; try { o.toString(); } catch (NullPointerException e) { System.out.println("null"); }
        System.gc();
    }
    static void recurse(int[] n) { n[0]++; recurse(n); }
}
P
javac Main.java && java -Xmx128m Main && java -Xint -XX:+UseSerialGC Main | head -n 1
