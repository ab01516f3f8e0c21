//! A Redis of its own for each test, on a Unix socket in a temporary folder; and a way to it that can be cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::node::PATIENCE;

pub struct Redis {
    folder: tempfile::TempDir,
    args: Vec<String>,
    child: Option<Child>,
}

impl Redis {
    pub fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut redis = Self { folder, args, child: None };
        redis.run();
        redis
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    pub fn run(&mut self) {
        let _ = std::fs::remove_file(self.socket());
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(self.socket())
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed (apt-get install redis-server)");
        self.child = Some(child);
        let begun = Instant::now();
        while UnixStream::connect(self.socket()).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "Redis does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(self.child.as_ref().unwrap());
        kill_process(pid, signal).unwrap();
    }

    /// What Redis answers to a command.
    pub fn ask(&self, args: &[&str]) -> String {
        let said = Command::new("redis-cli").arg("-s").arg(self.socket()).args(args).output().unwrap();
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    }

    /// Waits until a replica has all that there is here by now. `WAIT` does not say that: it is about what was written on
    /// its own connection.
    pub fn wait_until_copied(&self, replica: &Redis) {
        let offset = |redis: &Redis, of: &str| {
            let info = redis.ask(&["info", "replication"]);
            let number = info.lines().find_map(|line| line.trim().strip_prefix(of)?.parse::<u64>().ok());
            number.unwrap_or_default()
        };
        let (here, begun) = (offset(self, "master_repl_offset:"), Instant::now());
        assert!(here > 0, "it is no primary");
        while offset(replica, "slave_repl_offset:") < here {
            assert!(begun.elapsed() < PATIENCE, "the replica never has what there is");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // One that was stopped by a signal has to be killed all the same.
            child.kill().unwrap_or_default();
            child.wait().map(drop).unwrap_or_default();
        }
    }
}

/// Carries TCP connections to Redis, as long as it is not cut.
pub struct Wire {
    addr: SocketAddr,
    is_cut: Arc<AtomicBool>,
    is_mute: Arc<AtomicBool>,
    ends: Arc<Mutex<Vec<(TcpStream, UnixStream)>>>,
}

impl Wire {
    pub fn new(to: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let off = || Arc::new(AtomicBool::new(false));
        let (is_cut, is_mute, ends) = (off(), off(), Arc::new(Mutex::new(Vec::new())));
        let wire = Self { addr, is_cut: is_cut.clone(), is_mute: is_mute.clone(), ends: ends.clone() };
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                if is_cut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(far) = UnixStream::connect(&to) else { continue };
                let copies = (near.try_clone().unwrap(), far.try_clone().unwrap());
                ends.lock().unwrap().push((near.try_clone().unwrap(), far.try_clone().unwrap()));
                let (cut, mute) = (is_cut.clone(), is_mute.clone());
                std::thread::spawn(move || carry(near, far, &cut));
                std::thread::spawn(move || carry(copies.1, copies.0, &mute));
            }
        });
        wire
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Nothing is carried any more, and nobody is told.
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        self.is_mute.store(true, Ordering::SeqCst);
    }

    /// What Redis answers is not carried any more; what it is asked is.
    pub fn mute(&self) {
        self.is_mute.store(true, Ordering::SeqCst);
    }

    /// New connections are carried again; the old ones are gone.
    pub fn mend(&self) {
        for (near, far) in self.ends.lock().unwrap().drain(..) {
            near.shutdown(Shutdown::Both).unwrap_or_default();
            far.shutdown(Shutdown::Both).unwrap_or_default();
        }
        self.is_cut.store(false, Ordering::SeqCst);
        self.is_mute.store(false, Ordering::SeqCst);
    }
}

fn carry(mut from: impl Read, mut to: impl Write, is_cut: &AtomicBool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(len) = from.read(&mut buffer) {
        if len == 0 || is_cut.load(Ordering::SeqCst) || to.write_all(&buffer[..len]).is_err() {
            return;
        }
    }
}
