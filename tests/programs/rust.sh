# packages: rustc
cat >a.rs <<'P'
use std::sync::mpsc;
use std::thread;
fn main() {
    let (tx, rx) = mpsc::channel();
    for i in 0..8 { let tx = tx.clone(); thread::spawn(move || tx.send(i * i).unwrap()); }
    drop(tx);
    println!("{}", rx.iter().sum::<i32>());
    let r = std::panic::catch_unwind(|| panic!("caught"));
    println!("{}", r.is_err());
    println!("{:?}", std::process::Command::new("echo").arg("x").output().unwrap().stdout);
}
P
/usr/bin/rustc -O a.rs && ./a 2>/dev/null
