//! A real file from a real server over real TLS, by the README's first command.
//!
//! Which file is this machine's business: `EDDY_REAL_HTTPS` is either an https URL, or `pip`, and then pip says where this
//! machine's own configuration has the package `EDDY_REAL_HTTPS_PACKAGE` (numpy) and which digest it has. Without the
//! variable nothing is asked of anybody.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use eddy_tests::process::{Eddy, Ended, hash_of};
use eddy_wire::api::Identity;

/// Longest that a large file may take from anywhere.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is fetched, and the digest that somebody else names for it.
#[derive(Debug)]
struct Real {
    url: String,
    digest: Option<String>,
}

#[test]
fn a_real_file_is_fetched_over_https_and_b3sum_confirms_it() {
    let Some(real) = real() else { return };
    assert!(real.url.starts_with("https://"), "{real:?}");
    let node = Eddy::here().unwrap();
    let to = node.home().join("real");
    let mut arguments = vec!["get", &real.url, "-o", to.to_str().unwrap()];
    arguments.extend(real.digest.iter().flat_map(|digest| ["--digest", digest]));
    let began = Instant::now();
    // With the person's own proxies and certificates: this is about the machine as it is.
    let mut command = node.command(&arguments);
    for (name, value) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().to_lowercase().ends_with("_proxy"))
    {
        command.env(name, value);
    }
    let ended: Ended = command.output().unwrap().into();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(began.elapsed() < PATIENCE);
    let length = to.metadata().unwrap().len();
    println!("{length} bytes in {:.1} s\n{}", began.elapsed().as_secs_f64(), ended.out);

    let printed = ended.out.lines().find_map(|line| line.strip_prefix("blake3 ")?.split_once("  ")).unwrap().0;
    assert_eq!(printed, hash_of(&to).unwrap().to_hex().as_str());
    match b3sum(&to) {
        Some(theirs) => assert_eq!(printed, theirs, "b3sum disagrees"),
        None => println!("b3sum is not installed; the digest was checked by the library alone"),
    }
    let totals = node.report().unwrap().totals;
    assert_eq!((totals.identity(), totals.delivered, totals.used.origin), (Identity::Closes, length, length));
}

/// The file to fetch. Prints why there is none.
fn real() -> Option<Real> {
    match std::env::var("EDDY_REAL_HTTPS").ok().as_deref() {
        None | Some("") => {
            eprintln!("skipped: EDDY_REAL_HTTPS names no file (an https URL, or pip)");
            None
        }
        Some("pip") => Some(by_pip().unwrap_or_else(|reason| panic!("pip names no file: {reason}"))),
        Some(url) => Some(Real { url: url.to_owned(), digest: None }),
    }
}

/// Where this machine's pip would download the package from, and its digest there.
fn by_pip() -> Result<Real, String> {
    let package = std::env::var("EDDY_REAL_HTTPS_PACKAGE").unwrap_or_else(|_| "numpy".to_owned());
    let asked = Command::new("python3")
        .args(["-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet", "--report", "-"])
        .args(["--only-binary", ":all:", "--", &package])
        .output()
        .map_err(|error| error.to_string())?;
    if !asked.status.success() {
        return Err(String::from_utf8_lossy(&asked.stderr).into_owned());
    }
    let report: serde_json::Value = serde_json::from_slice(&asked.stdout).map_err(|error| error.to_string())?;
    let download = &report["install"][0]["download_info"];
    let url = download["url"].as_str().ok_or("its report has no URL")?.to_owned();
    let digest = download["archive_info"]["hashes"]["sha256"].as_str().map(|hex| format!("sha256:{hex}"));
    Ok(Real { url, digest })
}

/// What `b3sum` says, if it is installed.
fn b3sum(file: &Path) -> Option<String> {
    let output = Command::new("b3sum").arg("--no-names").arg(file).output().ok()?;
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}
