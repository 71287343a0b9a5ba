//! Ranges of a file (F-56), also on demand (F-57), by real processes: what is wanted is delivered byte-exact and in its order, and of the origin no more is asked
//! than the blocks that it touches.

use std::path::Path;
use std::time::Duration;

use eddy_tests::hostile::{Behaviour, Framing, HostileOrigin, Mark, RangeAnswer, Resource, Version};
use eddy_tests::lab::{self, Lab, LabSpec};
use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, body_bytes, write_sample};
use eddy_wire::api::{ByteRange, EventKind, EventView, FileView, FilledView, Identity, JobState, JobView};
use tokio::task::block_in_place;

const PATIENCE: Duration = Duration::from_secs(60);
const BLOCK: u64 = 65_536;
const LENGTH: u64 = 9 * MIB + 5;
/// They touch block 80, the first two, and the last two, of which the very last has five bytes.
const RANGES: &str = "5242890-5242989,0-65536,9437183-";
const TOUCHED: u64 = 4 * BLOCK + 5;

/// The bytes of [`RANGES`], in their order.
fn expected(whole: &[u8]) -> Vec<u8> {
    [&whole[5_242_890..5_242_990], &whole[..65_537], &whole[9_437_183..]].concat()
}

fn alone() -> Eddy<'static> {
    let eddy = Eddy::here().unwrap();
    std::fs::write(eddy.home().join("eddy.toml"), "[peers]\nmdns = false\n").unwrap();
    eddy
}

fn get(eddy: &Eddy<'_>, url: &str, ranges: &str, to: &Path) -> JobView {
    block_in_place(|| eddy.ask(&["get", url, "--range", ranges, "-o", to.to_str().unwrap()])).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f56_ranges_are_delivered_in_their_order_and_no_other_block_is_asked_for() {
    let origin = HostileOrigin::start().await.unwrap();
    let version = Version::new(56, LENGTH);
    let wanted = expected(&version.whole());
    origin.publish("/file", Resource::new(version, Behaviour::default()));
    let (eddy, url) = (alone(), origin.url("/file"));
    let daemon = block_in_place(|| eddy.daemon()).unwrap();
    let path = eddy.home().join("part");
    let digest = format!("blake3:{}", blake3::hash(&wanted).to_hex());
    let job: JobView = block_in_place(|| {
        eddy.ask(&["get", &url, "--range", RANGES, "--digest", &digest, "-o", path.to_str().unwrap()])
    })
    .unwrap();
    assert_eq!(job.state, JobState::Acknowledged);
    assert_eq!(
        (job.length(), job.done(), job.sources().total()),
        (Some(wanted.len() as u64), wanted.len() as u64, wanted.len() as u64)
    );
    assert_eq!(job.files[0].blake3.as_deref(), Some(blake3::hash(&wanted).to_hex().as_str()));
    assert!(std::fs::read(&path).unwrap() == wanted, "the ranges, in their order");
    assert_eq!(origin.counters().path("/file").body_bytes, TOUCHED);

    // What lies in blocks that are held costs nothing more.
    let again = eddy.home().join("again");
    get(&eddy, &url, "65530-65540,5242880-5308415", &again);
    let whole = Version::new(56, LENGTH).whole();
    assert!(std::fs::read(&again).unwrap() == [&whole[65_530..65_541], &whole[5_242_880..5_308_416]].concat());
    assert_eq!(origin.counters().path("/file").body_bytes, TOUCHED);

    // A whole file afterwards fetches what is missing of it.
    let all = eddy.home().join("all");
    block_in_place(|| eddy.get(&url, &all)).unwrap();
    assert!(std::fs::read(&all).unwrap() == whole);
    assert_eq!(origin.counters().path("/file").body_bytes, LENGTH);
    let totals = block_in_place(|| eddy.report()).unwrap().totals;
    assert_eq!(totals.identity(), Identity::Closes, "{totals:?}");

    // What cannot be is refused with the catalogue's word.
    let refused = |ranges: &str| {
        let to = eddy.home().join("refused");
        block_in_place(|| eddy.ended(&["get", &url, "--range", ranges, "-o", to.to_str().unwrap()])).unwrap()
    };
    for (ranges, code) in [
        ("9437184-9437189", "range-outside"),
        ("9437189-", "range-outside"),
        ("0-9,5-", "ranges-overlap"),
        ("5-4", "bad-range"),
    ] {
        let ended = refused(ranges);
        assert_eq!(ended.code(), Some(code), "{ranges}: {ended:?}");
    }
    let wrong = format!("blake3:{}", "0".repeat(64));
    let to = eddy.home().join("wrong");
    let ended =
        block_in_place(|| eddy.ended(&["get", &url, "--range", "0-9", "--digest", &wrong, "-o", to.to_str().unwrap()]))
            .unwrap();
    assert_eq!(ended.code(), Some("digest-mismatch"), "{ended:?}");
    assert!(!to.exists());
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f56_servers_without_ranges_versions_or_lengths_are_read_through() {
    let origin = HostileOrigin::start().await.unwrap();
    let whole = Version::new(57, LENGTH).whole();
    let behaviours = [
        ("none", Behaviour::ranges(RangeAnswer::Ignored)),
        ("weak", Behaviour::mark(Mark::None)),
        (
            "chunked",
            Behaviour { mark: Mark::None, ranges: RangeAnswer::Ignored, ..Behaviour::framing(Framing::Chunked) },
        ),
        ("old", Behaviour::framing(Framing::Http10)),
        ("secret", Behaviour::default().with_header("Cache-Control: no-store")),
    ];
    for (name, behaviour) in &behaviours {
        origin.publish(&format!("/{name}"), Resource::new(Version::new(57, LENGTH), behaviour.clone()));
    }
    let eddy = alone();
    let _daemon = block_in_place(|| eddy.daemon()).unwrap();
    for (name, _) in behaviours {
        let path = eddy.home().join(name);
        let job = get(&eddy, &origin.url(&format!("/{name}")), RANGES, &path);
        assert_eq!(job.state, JobState::Acknowledged, "{name}");
        assert!(std::fs::read(&path).unwrap() == expected(&whole), "{name}");
        let sent = origin.counters().path(&format!("/{name}")).body_bytes;
        assert!(sent <= 2 * LENGTH, "{name}: {sent} bytes");
        assert_eq!(job.files[0].done, expected(&whole).len() as u64, "{name}");
    }
    let totals = block_in_place(|| eddy.report()).unwrap().totals;
    assert_eq!(totals.identity(), Identity::Closes, "{totals:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f56_a_killed_node_goes_on_with_the_ranges_from_what_is_durable() {
    let origin = HostileOrigin::start().await.unwrap();
    let behaviour = Behaviour { rate: Some(MIB), ..Behaviour::default() };
    origin.publish("/file", Resource::new(Version::new(58, 40 * MIB), behaviour));
    let (eddy, url) = (alone(), origin.url("/file"));
    let mut daemon = block_in_place(|| eddy.daemon()).unwrap();
    let path = eddy.home().join("part");
    // 8 MiB from the middle of a block, then the first 100 bytes.
    let (start, count) = (20 * MIB + 7, 8 * MIB);
    let ranges = format!("{start}-{},0-99", start + count - 1);
    let touched = count + 2 * BLOCK;
    let made: JobView =
        block_in_place(|| eddy.ask(&["get", &url, "--range", &ranges, "-o", path.to_str().unwrap(), "--background"]))
            .unwrap();
    let held = block_in_place(|| eddy.wait_job(&made.id, PATIENCE, |job| job.done() > 2 * MIB)).unwrap().done();
    block_in_place(|| daemon.kill()).unwrap();
    let before = origin.counters().path("/file").body_bytes;
    let daemon = block_in_place(|| eddy.daemon()).unwrap();
    let files: Vec<FileView> = block_in_place(|| eddy.ask(&["job", "files", &made.id])).unwrap();
    assert_eq!(files[0].ranges.len(), 2, "the ranges are kept");
    block_in_place(|| eddy.wait_delivered(&path, PATIENCE)).unwrap();
    let whole = Version::new(58, 40 * MIB);
    assert!(std::fs::read(&path).unwrap() == [whole.bytes(start..start + count), whole.bytes(0..100)].concat());
    let more = origin.counters().path("/file").body_bytes - before;
    assert!(more <= touched - held, "{more} bytes more, though {held} were held");
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f56_a_peer_gives_the_blocks_that_ranges_touch() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: None, wan_rate: None }).unwrap();
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    write_sample(&origin.files().join("file"), 59, LENGTH).unwrap();
    let whole = std::fs::read(origin.files().join("file")).unwrap();
    let nodes = [0, 1].map(|n| Eddy::on(lab.host(n)).unwrap());
    let secret = nodes[0].found_group().unwrap();
    nodes[1].join_group(&secret).unwrap();
    let _daemons = [nodes[0].daemon().unwrap(), nodes[1].daemon().unwrap()];
    nodes[0].wait_peers(1, PATIENCE).unwrap();
    nodes[1].wait_peers(1, PATIENCE).unwrap();
    let sent = || body_bytes(&origin.access().unwrap());
    let audited = || nodes.iter().map(|node| node.report().unwrap().totals.audited).sum::<u64>();

    // The first has ranges only; the second takes of them what it wants.
    get(&nodes[0], &origin.url("file"), RANGES, &nodes[0].home().join("part"));
    assert_eq!(sent(), TOUCHED);
    let path = nodes[1].home().join("part");
    let job = get(&nodes[1], &origin.url("file"), RANGES, &path);
    assert!(std::fs::read(&path).unwrap() == expected(&whole));
    assert_eq!(job.sources().peers, expected(&whole).len() as u64);
    assert_eq!(sent(), TOUCHED + audited(), "the peer gave all");

    // The whole comes from the origin but for what is held, and ranges of it from a peer again.
    nodes[0].get(&origin.url("file"), &nodes[0].home().join("all")).unwrap();
    let path = nodes[1].home().join("more");
    let job = get(&nodes[1], &origin.url("file"), "1000000-3000000", &path);
    assert!(std::fs::read(&path).unwrap() == whole[1_000_000..=3_000_000]);
    assert_eq!(job.sources().origin, 0);
    assert_eq!(sent(), LENGTH + audited());
    for node in &nodes {
        let totals = node.report().unwrap().totals;
        assert_eq!(totals.identity(), Identity::Closes, "{totals:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f57_ranges_are_asked_for_while_the_job_is_there_until_the_file_is_whole() {
    let origin = HostileOrigin::start().await.unwrap();
    let version = Version::new(60, LENGTH);
    let whole = version.whole();
    origin.publish("/file", Resource::new(version, Behaviour::default()));
    let (eddy, url) = (alone(), origin.url("/file"));
    let daemon = block_in_place(|| eddy.daemon()).unwrap();
    let path = eddy.home().join("whole");
    let words = ["job", "create", "x", "--auto", "--on-demand", "--file", &url, path.to_str().unwrap()];
    let id = block_in_place(|| eddy.ask::<JobView>(&words)).unwrap().id;
    let rests = |job: &JobView| job.state == JobState::Suspended && job.files[0].length.is_some();
    let sent = || origin.counters().path("/file").body_bytes;
    let filled = || block_in_place(|| eddy.ask::<FilledView>(&["job", "filled", &id, "0"])).unwrap().filled;
    let range = |offset, length| ByteRange { offset, length: Some(length) };

    // They overlap, and lie in two blocks.
    block_in_place(|| eddy.ask::<JobView>(&["job", "range", &id, "0", "70000-70010,70005-131071,9437184-"])).unwrap();
    block_in_place(|| eddy.wait_job(&id, PATIENCE, rests)).unwrap();
    assert_eq!(filled(), [range(BLOCK, BLOCK), range(144 * BLOCK, 5)]);
    assert_eq!(sent(), BLOCK + 5);
    assert!(!path.exists());
    let told = block_in_place(|| eddy.ended(&["events", "--json"])).unwrap().out;
    let told: Vec<EventView> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(told.iter().any(|event| event.kind == EventKind::RangesTransferred), "{told:?}");

    // The next node knows what was asked for, and what is here.
    drop(daemon);
    let _daemon = block_in_place(|| eddy.daemon()).unwrap();
    assert_eq!(filled(), [range(BLOCK, BLOCK), range(144 * BLOCK, 5)]);
    block_in_place(|| eddy.ask::<JobView>(&["job", "range", &id, "0", "0-", "--position", "5242880"])).unwrap();
    block_in_place(|| eddy.wait_delivered(&path, PATIENCE)).unwrap();
    assert!(std::fs::read(&path).unwrap() == whole);
    assert_eq!(sent(), LENGTH, "no byte twice");

    let plain = eddy.home().join("plain");
    let words = ["job", "create", "y", "--file", &url, plain.to_str().unwrap()];
    let other = block_in_place(|| eddy.ask::<JobView>(&words)).unwrap().id;
    let refused = block_in_place(|| eddy.ended(&["job", "range", &other, "0", "0-9"])).unwrap();
    assert_eq!(refused.code(), Some("not-on-demand"), "{refused:?}");
}
