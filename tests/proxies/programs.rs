//! nginx and HAProxy with the configurations that Fanline ships, on ports of the test's own, ended with it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const NGINX: &str = include_str!("../../examples/nginx.conf");
const HAPROXY: &str = include_str!("../../examples/haproxy.cfg");

const PATIENCE: Duration = Duration::from_secs(20);

/// What a proxy is to pass to, and how.
pub struct Upstream<'u> {
    /// Where Fanline speaks HTTP: an address, or `unix:` and a file.
    pub http: String,
    /// Where it takes TLS behind PROXY headers.
    pub direct: SocketAddr,
    /// How HAProxy is told to send a PROXY header.
    pub send_proxy: &'u str,
    /// The proxy's patience with silence.
    pub timeout: &'u str,
}

/// A proxy that runs.
pub struct Proxy {
    child: Child,
    /// Where it speaks HTTP, and where HTTPS.
    pub plain: SocketAddr,
    pub tls: SocketAddr,
    /// Where it passes TLS on; HAProxy alone does.
    pub direct: SocketAddr,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// Puts this in the place of that, which has to be there.
fn replaced(text: &str, pairs: &[(&str, String)]) -> String {
    pairs.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the example has no `{from}`");
        text.replace(from, to)
    })
}

/// Ports that nobody has at the moment.
fn free_ports() -> [SocketAddr; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

impl Proxy {
    /// nginx, in one process and in the foreground. `folder` has the certificate.
    pub fn nginx(folder: &Path, upstream: &Upstream<'_>) -> Self {
        let at = |name: &str| folder.join(name).display().to_string();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!(" {kind}_temp_path {};", at(kind)))
            .collect();
        Self::start(|[plain, tls, _]| {
            let config = replaced(
                NGINX,
                &[
                    ("http {", format!("http {{ access_log off;{temporary}")),
                    ("worker_connections 32768", "worker_connections 256".into()),
                    ("server unix:/run/fanline.sock", format!("server {}", upstream.http)),
                    ("listen 80;", format!("listen {plain};")),
                    ("listen 443 ssl;", format!("listen {tls} ssl;")),
                    ("/etc/ssl/fanline/cert.pem", at("cert.pem")),
                    ("/etc/ssl/fanline/key.pem", at("key.pem")),
                    ("75s;", format!("{};", upstream.timeout)),
                ],
            );
            std::fs::write(at("nginx.conf"), config).unwrap();
            let here =
                format!("daemon off; master_process off; pid {}; error_log stderr warn;", at("nginx.pid"));
            // What is wrong before the configuration is read goes there, too, and not to a file of the system's.
            let args = ["nginx", "-e", "stderr", "-p", &at(""), "-c", &at("nginx.conf"), "-g", &here];
            args.map(str::to_owned).to_vec()
        })
    }

    /// HAProxy, in the foreground. `folder` has the certificate.
    pub fn haproxy(folder: &Path, upstream: &Upstream<'_>) -> Self {
        let at = |name: &str| folder.join(name).display().to_string();
        let pair = ["cert.pem", "key.pem"].map(|name| std::fs::read_to_string(folder.join(name)).unwrap());
        std::fs::write(folder.join("cert-and-key.pem"), pair.concat()).unwrap();
        Self::start(|[plain, tls, direct]| {
            let config = replaced(
                HAPROXY,
                &[
                    ("maxconn 32768", "maxconn 256".into()),
                    ("bind :80\n", format!("bind {plain}\n")),
                    ("bind :443 ", format!("bind {tls} ")),
                    ("bind :8443\n", format!("bind {direct}\n")),
                    ("/etc/ssl/fanline/cert-and-key.pem", at("cert-and-key.pem")),
                    ("fanline 127.0.0.1:8080", format!("fanline {}", upstream.http)),
                    ("fanline 127.0.0.1:8444", format!("fanline {}", upstream.direct)),
                    ("send-proxy-v2", upstream.send_proxy.into()),
                    ("75s", upstream.timeout.into()),
                ],
            );
            std::fs::write(at("haproxy.cfg"), config).unwrap();
            ["haproxy", "-db", "-f", &at("haproxy.cfg")].map(str::to_owned).to_vec()
        })
    }

    /// Starts a program on free ports; another may take one of them first, so it has a few tries.
    fn start(mut command: impl FnMut([SocketAddr; 3]) -> Vec<String>) -> Self {
        for _ in 0..5 {
            let ports = free_ports();
            let command = command(ports);
            // It ends with the thread of the test, also where that is killed.
            let child = Command::new("setpriv")
                .args(["--pdeathsig", "KILL"])
                .args(command)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let mut proxy = Self { child, plain: ports[0], tls: ports[1], direct: ports[2] };
            if proxy.comes_up() {
                return proxy;
            }
        }
        panic!("it does not start; is it installed?");
    }

    fn comes_up(&mut self) -> bool {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if TcpStream::connect(self.plain).is_ok() && TcpStream::connect(self.tls).is_ok() {
                return true;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}
