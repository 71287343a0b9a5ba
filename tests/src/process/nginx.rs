//! nginx as an honest origin: static files over HTTP or HTTPS, with an access log that can be asked.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use super::Running;
use crate::lab::Host;

/// How long nginx may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Ports tried on loopback, where another process may take one between choosing and binding.
const ATTEMPTS: usize = 5;
/// Fields of the log, separated by tabs, which nginx escapes inside values.
const LOG_FORMAT: &str =
    r"$request_method\t$status\t$body_bytes_sent\t$bytes_sent\t$http_range\t$connection\t$request_uri";

/// How the server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheme {
    /// Plain HTTP/1.1.
    #[default]
    Http,
    /// TLS, HTTP/1.1 and HTTP/2, with a certificate made for the server; [`Nginx::certificate`] is its root.
    Https,
}

/// What to serve, and how.
#[derive(Debug, Clone, Default)]
pub struct NginxSpec {
    /// Plain or TLS.
    pub scheme: Scheme,
    /// More parameters of the `listen` directive, e.g. `sndbuf=64k`.
    pub listen: String,
    /// More directives for the `server` block, e.g. `limit_rate 1m;`.
    pub directives: String,
    /// More directives for the `http` block.
    pub http: String,
}

/// A running nginx with a directory of its own.
#[derive(Debug)]
pub struct Nginx {
    directory: TempDir,
    address: SocketAddrV4,
    scheme: Scheme,
    running: Running,
}

/// One answered request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The method.
    pub method: String,
    /// The status code.
    pub status: u16,
    /// Bytes of body sent, of what may have been cut short.
    pub body_bytes: u64,
    /// Bytes sent, header included.
    pub bytes: u64,
    /// The `Range` field of the request.
    pub range: Option<String>,
    /// Number of the connection: tells how many were opened.
    pub connection: u64,
    /// Path and query.
    pub uri: String,
}

impl Nginx {
    /// Starts nginx on a free port of this machine's loopback.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn here(spec: &NginxSpec) -> Result<Self> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            match Self::start(spec, SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), Command::new) {
                Ok(up) => return Ok(up),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("no attempt")))
    }

    /// Starts nginx on a host of the lab, on the scheme's own port.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn on(host: &Host, spec: &NginxSpec) -> Result<Self> {
        let port = match spec.scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        };
        Self::start(spec, SocketAddrV4::new(host.address(), port), |program| host.command(program))
    }

    fn start(spec: &NginxSpec, address: SocketAddrV4, command: impl Fn(&'static str) -> Command) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("eddy-nginx-").tempdir()?;
        let at = directory.path();
        std::fs::create_dir(at.join("files"))?;
        let listen = match spec.scheme {
            Scheme::Http => format!("listen {address} {};", spec.listen),
            Scheme::Https => {
                let made = rcgen::generate_simple_self_signed(vec![address.ip().to_string(), "origin.test".into()])?;
                std::fs::write(at.join("certificate.pem"), made.cert.pem())?;
                std::fs::write(at.join("key.pem"), made.signing_key.serialize_pem())?;
                format!(
                    "listen {address} ssl http2 {}; ssl_certificate certificate.pem; ssl_certificate_key key.pem;",
                    spec.listen
                )
            }
        };
        std::fs::write(at.join("nginx.conf"), configuration(at, &listen, spec))?;
        let mut command = command("nginx");
        command.arg("-p").arg(at).arg("-c").arg(at.join("nginx.conf")).args(["-e", "stderr"]);
        let mut running = Running::start(command)?;
        // The file with the process id is written when the socket listens.
        let deadline = Instant::now() + PATIENCE;
        while std::fs::metadata(at.join("nginx.pid")).map_or(true, |file| file.len() == 0) {
            ensure!(running.poll_exit()?.is_none(), "nginx has ended:\n{}", running.log());
            ensure!(Instant::now() < deadline, "nginx does not listen:\n{}", running.log());
            thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { directory, address, scheme: spec.scheme, running })
    }

    /// Where the served files are; write, replace or remove them at will.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.directory.path().join("files")
    }

    /// The URL of a file in [`Nginx::files`].
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        format!("{scheme}://{}/{name}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// The certificate to trust, as PEM, when it speaks TLS.
    #[must_use]
    pub fn certificate(&self) -> Option<PathBuf> {
        (self.scheme == Scheme::Https).then(|| self.directory.path().join("certificate.pem"))
    }

    /// The process, to kill or to read.
    pub fn process(&mut self) -> &mut Running {
        &mut self.running
    }

    /// Connections that clients have to it now, and of those the ones on which it has something to send. All of a host's to its port
    /// count, so it is for hosts of a lab.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn connections(&self) -> Result<(usize, usize)> {
        let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", self.running.id()))?;
        // proc(5): the second field is the own address, its port in hexadecimal; the fourth the state, of which 1 is ESTABLISHED; the fifth
        // what is queued to be sent and to be read.
        let own = format!(":{:04X}", self.address.port());
        let (mut all, mut sending) = (0, 0);
        for line in table.lines() {
            let mut fields = line.split_ascii_whitespace().skip(1);
            if fields.next().is_some_and(|local| local.ends_with(&own)) && fields.nth(1) == Some("01") {
                all += 1;
                sending += usize::from(fields.next().is_some_and(|queues| !queues.starts_with("00000000:")));
            }
        }
        Ok((all, sending))
    }

    /// Requests answered so far. A request is logged when its answer has been sent or cut.
    ///
    /// # Errors
    /// When the log cannot be read or a line is not as expected.
    pub fn access(&self) -> Result<Vec<Access>> {
        let log = std::fs::read_to_string(self.directory.path().join("access.log"))?;
        log.lines().map(|line| Access::parse(line).with_context(|| format!("access log: {line}"))).collect()
    }

    /// Waits until the log satisfies `enough` and returns it.
    ///
    /// # Errors
    /// When it does not within `patience`.
    pub fn wait_access(&self, patience: Duration, enough: impl Fn(&[Access]) -> bool) -> Result<Vec<Access>> {
        let deadline = Instant::now() + patience;
        loop {
            let log = self.access()?;
            if enough(&log) {
                return Ok(log);
            }
            if Instant::now() >= deadline {
                bail!("the access log stays at {log:#?}");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Bytes of bodies that these answers sent.
#[must_use]
pub fn body_bytes(log: &[Access]) -> u64 {
    log.iter().map(|access| access.body_bytes).sum()
}

impl Nginx {
    /// Whether it is installed. Prints when it is not; in CI nothing is skipped.
    ///
    /// # Panics
    /// When it is missing and `CI` is set.
    #[must_use]
    pub fn ready() -> bool {
        let found = Command::new("nginx").arg("-v").output().is_ok_and(|output| output.status.success());
        if !found {
            assert!(std::env::var_os("CI").is_none(), "nginx must be there in CI");
            eprintln!("skipped: nginx is not installed");
        }
        found
    }
}

impl Access {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        let parsed = Self {
            method: fields.next()?.to_owned(),
            status: fields.next()?.parse().ok()?,
            body_bytes: fields.next()?.parse().ok()?,
            bytes: fields.next()?.parse().ok()?,
            range: fields.next().map(str::to_owned).filter(|range| range != "-"),
            connection: fields.next()?.parse().ok()?,
            uri: fields.next()?.to_owned(),
        };
        fields.next().is_none().then_some(parsed)
    }
}

fn configuration(at: &Path, listen: &str, spec: &NginxSpec) -> String {
    let (directives, http) = (&spec.directives, &spec.http);
    let at = at.display();
    format!(
        "daemon off;
master_process off;
pid {at}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    log_format fields '{LOG_FORMAT}';
    access_log {at}/access.log fields;
    client_body_temp_path {at}/body;
    proxy_temp_path {at}/proxy;
    fastcgi_temp_path {at}/fastcgi;
    uwsgi_temp_path {at}/uwsgi;
    scgi_temp_path {at}/scgi;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000;
    {http}
    server {{
        {listen}
        root {at}/files;
        {directives}
    }}
}}
"
    )
}
