//! Two machines of an office: what the package managers of the first have fetched through its gateway, those of the second get from the
//! first, and the origin sends no byte of a body again.

use eddy_tests::lab::{self, Host, Lab, LabSpec};
use eddy_tests::process::{Access, Eddy, MIB, Nginx, NginxSpec, Running, body_bytes, hash_of, mount, write_sample};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a node may take to start, and to find its neighbour.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of each package: more than what stays in memory alone.
const BIG: u64 = 6 * MIB;
/// What of the origin's files is large.
const PACKAGES: [&str; 3] = ["eddy_big-1.0-py3-none-any.whl", "eddy-big-1.0.0.tgz", "eddy-big-1.0.0.crate"];

/// Publishes one package for each package manager, as their registries do, with the digests that those name.
const PUBLISH: &str = "
import base64, hashlib, io, json, os, random, sys, tarfile, zipfile
root, url, length = sys.argv[1], sys.argv[2], int(sys.argv[3])
def write(path, data):
    path = os.path.join(root, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, 'wb').write(data)
    return data
def tar(files):
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode='w:gz') as packed:
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data))
    return whole.getvalue()
noise = random.Random(1)
wheel = io.BytesIO()
with zipfile.ZipFile(wheel, 'w') as packed:
    packed.writestr('eddy_big/data.bin', noise.randbytes(length))
    folder = 'eddy_big-1.0.dist-info/'
    packed.writestr(folder + 'METADATA', 'Metadata-Version: 2.1\\nName: eddy-big\\nVersion: 1.0\\n')
    packed.writestr(folder + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: eddy\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    packed.writestr(folder + 'RECORD', '')
name = 'eddy_big-1.0-py3-none-any.whl'
digest = hashlib.sha256(write('packages/' + name, wheel.getvalue())).hexdigest()
write('simple/index.html', b'<a href=\"eddy-big/\">eddy-big</a>')
write('simple/eddy-big/index.html', f'<a href=\"../../packages/{name}#sha256={digest}\">{name}</a>'.encode())
about = json.dumps({'name': 'eddy-big', 'version': '1.0.0'}).encode()
packed = write('npm/-/eddy-big-1.0.0.tgz', tar([('package/package.json', about), ('package/data.bin', noise.randbytes(length))]))
integrity = 'sha512-' + base64.b64encode(hashlib.sha512(packed).digest()).decode()
dist = {'tarball': url + 'npm/-/eddy-big-1.0.0.tgz', 'integrity': integrity}
version = {'name': 'eddy-big', 'version': '1.0.0', 'dist': dist}
write('npm/eddy-big.json', json.dumps({'name': 'eddy-big', 'dist-tags': {'latest': '1.0.0'}, 'versions': {'1.0.0': version}}).encode())
manifest = b'[package]\\nname = \"eddy-big\"\\nversion = \"1.0.0\"\\nedition = \"2021\"\\n'
files = [('Cargo.toml', manifest), ('src/lib.rs', b''), ('data.bin', noise.randbytes(length))]
packed = write('crates/eddy-big-1.0.0.crate', tar([('eddy-big-1.0.0/' + name, data) for name, data in files]))
write('index/config.json', json.dumps({'dl': url + 'crates/{crate}-{version}.crate'}).encode())
row = {'name': 'eddy-big', 'vers': '1.0.0', 'deps': [], 'cksum': hashlib.sha256(packed).hexdigest(), 'features': {}, 'yanked': False}
write('index/ed/dy/eddy-big', json.dumps(row).encode() + b'\\n')
";

/// A machine with a node, and with package managers that fetch through it.
struct Machine<'lab> {
    host: &'lab Host,
    eddy: Eddy<'lab>,
    folder: TempDir,
}

impl<'lab> Machine<'lab> {
    fn on(host: &'lab Host) -> Self {
        let eddy = Eddy::on(host).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings =
            format!("[cache]\nquota = \"2 GiB\"\nreserve = \"1 MiB\"\n[gateway]\nlisten = \"127.0.0.1:{port}\"\n");
        std::fs::write(eddy.home().join("eddy.toml"), settings).unwrap();
        let machine = Self { host, eddy, folder: tempfile::tempdir().unwrap() };
        for folder in ["cargo", "project/src"] {
            std::fs::create_dir_all(machine.path(folder)).unwrap();
        }
        let manifest = "[package]\nname = \"x\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[dependencies]\neddy-big = \"1\"\n[workspace]\n";
        std::fs::write(machine.path("project/Cargo.toml"), manifest).unwrap();
        std::fs::write(machine.path("project/src/lib.rs"), "").unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command that knows nothing of this person's own settings.
    fn bare(&self, mut command: Command) -> Command {
        command.env_clear().env("EDDY_HOME", self.eddy.home());
        let kept = |name: &str| matches!(name, "PATH" | "HOME") || name.starts_with("RUSTUP_");
        command.envs(std::env::vars().filter(|(name, _)| kept(name)));
        command.env("PIP_CONFIG_FILE", self.path("pip.conf")).env("PIP_NO_CACHE_DIR", "1");
        // Whatever this machine's settings say besides.
        for name in ["PIP_PROXY", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"] {
            command.env(name, "");
        }
        command.env("PIP_NO_INDEX", "0").env("npm_config_globalconfig", self.path("npmrc of all"));
        command.env("PIP_DISABLE_PIP_VERSION_CHECK", "1").env("PIP_ROOT_USER_ACTION", "ignore");
        command.env("npm_config_userconfig", self.path("npmrc")).env("npm_config_cache", self.path("npm"));
        command.env("CARGO_HOME", self.path("cargo"));
        command
    }

    fn enable(&self, tool: &str, origin: &str) {
        run(self.bare(self.eddy.command(["gateway", "enable", tool, "--origin", origin])));
    }

    /// Has each package manager fetch its package; the bytes of each.
    fn fetch(&self) -> [Vec<u8>; 3] {
        let command = |program: &str, arguments: &[&str]| {
            let mut command = self.bare(self.host.command(program));
            command.args(arguments).current_dir(self.path("project"));
            command
        };
        run(command("pip", &["download", "--no-deps", "-d", ".", "eddy-big"]));
        run(command("npm", &["pack", "--silent", "eddy-big@1.0.0"]));
        run(command("cargo", &["fetch"]));
        let crates = self.path("cargo/registry/cache").read_dir().unwrap().next().unwrap().unwrap().path();
        let project = self.path("project");
        let places = [project.join(PACKAGES[0]), project.join(PACKAGES[1]), crates.join(PACKAGES[2])];
        places.map(|path| std::fs::read(path).unwrap())
    }
}

fn run(mut command: Command) {
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}\n{}", text(&output.stdout), text(&output.stderr));
}

/// Whether the package managers are here. Says which is not.
fn tools_ready() -> bool {
    ["pip", "npm", "cargo", "python3"].into_iter().all(|tool| {
        let found = Command::new("sh").args(["-c", &format!("command -v {tool} >/dev/null")]).status();
        let is_here = found.is_ok_and(|status| status.success());
        if !is_here {
            assert!(std::env::var_os("CI").is_none(), "{tool} must be there in CI");
            eprintln!("skipped: {tool} is not here");
        }
        is_here
    })
}

/// Bytes of packages that the origin has sent.
fn sent(log: &[Access]) -> u64 {
    let is_package = |access: &&Access| PACKAGES.iter().any(|name| access.uri.ends_with(name));
    let of_packages: Vec<Access> = log.iter().filter(is_package).cloned().collect();
    body_bytes(&of_packages)
}

#[test]
fn package_managers_of_the_second_machine_get_large_bodies_from_the_first_and_none_from_the_origin() {
    if !lab::ready() || !Nginx::ready() || !tools_ready() {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: None, wan_rate: None }).unwrap();
    let http = "types { text/html html; application/json json; }".to_owned();
    let directives = "index index.html; location = /npm/eddy-big { try_files /npm/eddy-big.json =404; }".to_owned();
    let origin = Nginx::on(lab.origin(), &NginxSpec { http, directives, ..NginxSpec::default() }).unwrap();
    let mut publish = Command::new("python3");
    publish.args(["-c", PUBLISH]).arg(origin.files()).args([origin.url(""), BIG.to_string()]);
    run(publish);
    let machines = [0, 1].map(|number| Machine::on(lab.host(number)));
    let secret = machines[0].eddy.found_group().unwrap();
    machines[1].eddy.join_group(&secret).unwrap();
    for machine in &machines {
        machine.enable("pip", &origin.url("simple"));
        machine.enable("npm", &origin.url("npm"));
        machine.enable("cargo", &origin.url("index"));
    }
    let daemons: Vec<Running> = machines.iter().map(|machine| machine.eddy.daemon().unwrap()).collect();
    for machine in &machines {
        machine.eddy.wait_peers(1, PATIENCE).unwrap();
    }
    let first = machines[0].fetch();
    let at = |path: &str| std::fs::read(origin.files().join(path)).unwrap();
    let whole =
        ["packages", "npm/-", "crates"].into_iter().zip(PACKAGES).map(|(folder, name)| at(&format!("{folder}/{name}")));
    let whole: Vec<Vec<u8>> = whole.collect();
    let all: u64 = whole.iter().map(|bytes| bytes.len() as u64).sum();
    let log = origin.wait_access(PATIENCE, |log| sent(log) >= all).unwrap();
    assert!(first[..] == whole[..] && sent(&log) == all, "one copy for the first machine: {log:#?}");
    let second = machines[1].fetch();
    let after = &origin.access().unwrap()[log.len()..];
    assert!(second[..] == whole[..], "{}", daemons[1].log());
    assert_eq!(sent(after), 0, "{after:#?}");
    // The tools have each block when it is verified; the ledger has it when it is durable.
    let deadline = Instant::now() + PATIENCE;
    let received = || machines[1].eddy.report().unwrap().totals.received;
    while received().peers < all && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(received().peers >= all, "{:?}", received());
    drop(daemons);
}

/// A body of one block is stored beside others, a moment after it was answered; it is fetched here all the same, so this node signs for it.
#[test]
fn a_job_of_the_second_machine_gets_a_small_file_that_the_gateway_of_the_first_has_kept() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let small = 20_000;
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: None, wan_rate: None }).unwrap();
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join("small"), 7, small).unwrap();
    let nodes = [0, 1].map(|number| Eddy::on(lab.host(number)).unwrap());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = format!("[gateway]\nlisten = \"127.0.0.1:{port}\"\n{}", mount("/files", &origin.url(""), ""));
    std::fs::write(nodes[0].home().join("eddy.toml"), settings).unwrap();
    let secret = nodes[0].found_group().unwrap();
    nodes[1].join_group(&secret).unwrap();
    let daemons = nodes.each_ref().map(|node| node.daemon().unwrap());
    for node in &nodes {
        node.wait_peers(1, PATIENCE).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    let mut curl = lab.host(0).command("curl");
    curl.args(["-sS", "--fail", "--noproxy", "*", "-o"]).arg(&first);
    curl.arg(format!("http://127.0.0.1:{port}/files/small"));
    run(curl);
    assert_eq!(hash_of(&first).unwrap(), hash);
    let deadline = Instant::now() + PATIENCE;
    while nodes[0].cached().unwrap().is_empty() {
        assert!(Instant::now() < deadline, "nothing is stored: {}", daemons[0].log());
        std::thread::sleep(Duration::from_millis(20));
    }
    nodes[1].get(&origin.url("small"), &second).unwrap();
    assert_eq!(hash_of(&second).unwrap(), hash);
    let used = nodes[1].report().unwrap().totals.used;
    assert_eq!((used.origin, used.peers), (0, small), "{}", daemons[1].log());
}
