//! What a neighbour on the wire learns of a transfer between members: that there is one, and how large; no URL, no name of host, user
//! or file, no hash (T-11).

use std::time::Duration;

use eddy_tests::lab::{self, Lab, LabSpec};
use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, Running, body_bytes, hash_of, write_sample};

const PATIENCE: Duration = Duration::from_secs(60);
const LENGTH: u64 = 8 * MIB;
const FILE: &str = "geheimes-paket-0815.img";
const USER: &str = "kapitaen-nemo-4711";
/// Bytes of a needle from which it is not found by chance in some megabytes of cipher text.
const LONG_ENOUGH: usize = 7;
/// The EtherType of IPv4, and the protocol number of UDP.
const IPV4: [u8; 2] = [8, 0];
const UDP: u8 = 17;

/// Starts a daemon whose surroundings name a user.
fn daemon(node: &Eddy<'_>) -> Running {
    let mut command = node.command(["daemon"]);
    command.env("USER", USER).env("LOGNAME", USER).env("HOSTNAME", USER);
    let daemon = Running::start(command).unwrap();
    daemon.wait_line("the node runs; it listens", PATIENCE).unwrap();
    daemon
}

#[test]
fn a_capture_of_a_run_between_members_names_no_url_host_user_or_hash() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: None, wan_rate: None }).unwrap();
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join(FILE), 15, LENGTH).unwrap();
    let sample = std::fs::read(origin.files().join(FILE)).unwrap();
    let nodes = [0, 1].map(|n| Eddy::on(lab.host(n)).unwrap());
    let secret = nodes[0].found_group().unwrap();
    nodes[1].join_group(&secret).unwrap();

    // From before they have heard of each other until the file is delivered.
    let capture = nodes[1].home().join("capture");
    let program = env!("CARGO_BIN_EXE_capture");
    let listener = lab.host(1).spawn(program, [capture.as_os_str()]).unwrap();
    listener.wait_line("the capture has begun", PATIENCE).unwrap();
    let daemons = [daemon(&nodes[0]), daemon(&nodes[1])];
    nodes[1].wait_peers(1, PATIENCE).unwrap();
    let url = origin.url(FILE);
    nodes[0].get(&url, &nodes[0].home().join("a")).unwrap();
    origin.wait_access(PATIENCE, |log| body_bytes(log) >= LENGTH).unwrap();
    let destination = nodes[1].home().join("a");
    let job = nodes[1].get(&url, &destination).unwrap();
    assert_eq!(hash_of(&destination).unwrap(), hash);
    assert_eq!(job.sources().peers, LENGTH);
    let cache = nodes[1].status().unwrap();
    drop(daemons);
    drop(listener);

    let frames = read(&std::fs::read(&capture).unwrap());
    let (with_origin, among_members): (Vec<_>, Vec<_>) =
        frames.into_iter().partition(|frame| touches(frame, lab.origin().address().octets()));
    let udp: usize = among_members.iter().filter(|frame| is_udp(frame)).map(Vec::len).sum();
    assert!(udp as u64 >= LENGTH, "the transfer was not captured: {udp} bytes");
    let (with_origin, among_members) = (with_origin.concat(), among_members.concat());
    // The question to the origin goes over plain HTTP here: so the search finds what is there.
    assert!(contains(&with_origin, FILE.as_bytes()), "the capture missed the question to the origin");

    let root = hash.as_bytes().to_vec();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let needles: Vec<(&str, Vec<u8>)> = vec![
        ("the file's name", FILE.into()),
        ("the origin's address", lab.origin().address().to_string().into()),
        ("the URL's scheme", b"http://".to_vec()),
        ("the user's name", USER.into()),
        ("the home", nodes[1].home().display().to_string().into()),
        ("the host's name", host.trim().into()),
        ("the hash of the file", root.clone()),
        ("the same in hex", hash.to_hex().as_bytes().to_vec()),
        ("the group's secret", secret.trim().into()),
        ("the beginning of the content", sample[..64].to_vec()),
        ("the end of the content", sample[sample.len() - 64..].to_vec()),
        ("the node's version in words", format!("eddy {}", cache.version).into()),
    ];
    for (what, needle) in needles {
        if needle.len() < LONG_ENOUGH {
            println!("{what} is too short to be told from chance");
            continue;
        }
        assert!(!contains(&among_members, &needle), "{what} can be read on the wire");
    }
}

fn read(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let Some((frame, rest)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize) else { break };
        frames.push(frame.to_vec());
        bytes = rest;
    }
    frames
}

fn is_ipv4(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&IPV4)
}

fn is_udp(frame: &[u8]) -> bool {
    is_ipv4(frame) && frame.get(23) == Some(&UDP)
}

fn touches(frame: &[u8], address: [u8; 4]) -> bool {
    is_ipv4(frame) && (frame.get(26..30) == Some(&address) || frame.get(30..34) == Some(&address))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
