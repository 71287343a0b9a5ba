//! The real binary in front of a node whose jobs do what each test says, over the real socket.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod stage;

use eddy_node::control::Face;
use eddy_wire::api::{EntityView, JobAction, JobState, JobView};
use stage::scripted::Step;
use stage::{Stage, elsewhere, half, missing, own, queued, text, unresolved, whole};

#[tokio::test(flavor = "multi_thread")]
async fn a_fetched_file_is_one_line_on_standard_output() {
    let stage = Stage::new(queued);
    let mut get = stage.start(&["get", "https://h/a"]);
    get.expect("queued\n");
    stage.change(half);
    get.expect("transferring, 1.0 MiB of 2.0 MiB, 1.0 MiB/s  1 s left\n");
    stage.change(|job| job.state = JobState::Transferred);
    get.expect("ready to finish, 1.0 MiB of 2.0 MiB");
    stage.change(whole);
    let summary = get.expect("2.0 MiB in ");
    assert!(summary.ends_with(": origin 1.0 MiB, peers 1.0 MiB\n"), "{summary}");
    let line = format!("blake3 {}  {}\n", "ab".repeat(32), stage.path("a").display());
    assert_eq!(get.end(), (Some(0), line, String::new()));
}

/// A service with a `/tmp` of its own delivers where nobody sees it.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_node_put_where_nobody_sees_it_is_not_done() {
    let stage = Stage::new(elsewhere);
    let lost = stage.run(&["get", "https://h/a"]).await;
    assert_eq!((lost.status.code(), text(&lost.stdout).as_str()), (Some(7), ""));
    assert!(text(&lost.stderr).contains("error[destination-unseen]: "), "{}", text(&lost.stderr));
    // Nor is it there because something else was there before, of the same length.
    std::fs::File::create(stage.path("b")).unwrap().set_len(2 << 20).unwrap();
    let kept = stage.run(&["get", "https://h/b", "--overwrite"]).await;
    assert_eq!(kept.status.code(), Some(7), "{}", text(&kept.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_several_jobs_gets_what_was_asked_for_whatever_becomes_of_the_others() {
    let stage = Stage::new(half);
    for url in ["https://h/a", "https://h/b"] {
        stage.run(&["get", "--background", url]).await;
    }
    let output = stage.run(&["job", "cancel", "job0", "none", "job1"]).await;
    assert_eq!(output.status.code(), Some(11), "{}", text(&output.stderr));
    assert!(text(&output.stderr).starts_with("error[job-not-found]"), "{}", text(&output.stderr));
    let told = text(&output.stdout);
    assert!(told.contains("job0") && told.contains("job1"), "{told}");
    let json = stage.run(&["job", "pause", "none", "job1", "nobody", "--json"]).await;
    assert_eq!(serde_json::from_slice::<Vec<JobView>>(&json.stdout).unwrap().len(), 1);
    assert_eq!(json.status.code(), Some(11));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ends_while_all_are_cancelled_keeps_none_of_the_others_running() {
    let stage = Stage::new(half);
    stage.run(&["job", "create", "just ended", "--file", "https://h/a", "a"]).await;
    stage.run(&["get", "--background", "https://h/b"]).await;
    let output = stage.run(&["job", "purge", "--yes"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(stage.asked(), ["create", "create", "cancel job0", "cancel job1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_over_takes_no_place_of_those_who_wait() {
    let stage = Stage::new(half);
    for (args, priority) in [
        (["get", "https://h/a", "--background"].as_slice(), "normal"),
        (&["get", "https://h/b", "--background", "--priority", "foreground"], "foreground"),
    ] {
        let output = stage.run(&[args, &["--json"]].concat()).await;
        let job: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(job["priority"], priority, "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_with_what_is_private_is_its_makers_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let stage = Stage::new(half);
    let made = stage.run(&["cache", "export", "p", "aaaa", "--also-private"]).await;
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let mode = std::fs::metadata(stage.path("p")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_and_json_are_for_programs() {
    let stage = Stage::new(whole);
    let quiet = stage.run(&["-q", "get", "https://h/a"]).await;
    assert_eq!((quiet.status.code(), quiet.stdout, quiet.stderr), (Some(0), Vec::new(), Vec::new()));
    let json = stage.run(&["--json", "get", "https://h/b"]).await;
    let job: JobView = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((job.state, json.stderr), (JobState::Acknowledged, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_before_the_first_byte_ends_the_command_and_leaves_no_job() {
    for (begin, exit, code) in [(unresolved as Step, 4, "name-not-resolved"), (missing, 3, "http-not-found")] {
        let stage = Stage::new(begin);
        let output = stage.run(&["get", "https://h/a"]).await;
        assert_eq!(output.status.code(), Some(exit));
        assert!(text(&output.stderr).contains(&format!("error[{code}]: ")), "{}", text(&output.stderr));
        assert_eq!(stage.asked(), ["create", "cancel job0"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_later_is_tried_again() {
    let stage = Stage::new(half);
    let mut get = stage.start(&["get", "https://h/a"]);
    get.expect("transferring");
    stage.change(unresolved);
    get.expect("waiting to retry: the name of the host cannot be resolved: no-such-host");
    stage.change(half);
    get.expect("transferring");
    stage.change(whole);
    assert_eq!((get.end().0, stage.asked()), (Some(0), vec!["create".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_pauses_the_job_and_the_same_command_goes_on() {
    let stage = Stage::new(half);
    let mut get = stage.start(&["get", "https://h/a"]);
    get.expect("transferring");
    get.interrupt();
    let advice = "what was fetched is kept; go on with the same command, or: eddy job resume job0";
    assert_eq!(get.end(), (Some(130), String::new(), format!("interrupted: {advice}\n")));

    let mut again = stage.start(&["get", "https://h/a"]);
    again.expect("queued");
    stage.change(whole);
    assert_eq!(again.end().0, Some(0));
    assert_eq!(stage.asked(), ["create", "pause job0", "resume job0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_somebody_else_stops_is_not_done() {
    for (action, exit) in [(JobAction::Pause, 14), (JobAction::Cancel, 14)] {
        let stage = Stage::new(half);
        let mut get = stage.start(&["get", "https://h/a"]);
        get.expect("transferring");
        stage.node.act(own(), "job0", action).await.unwrap();
        assert_eq!(get.end().0, Some(exit));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_says_so() {
    let stage = Stage::new(half);
    let mut get = stage.start(&["get", "https://h/a"]);
    get.expect("transferring");
    stage.stop.cancel();
    get.expect("error[shutting-down]: ");
    assert_eq!(get.end().0, Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_in_the_background_is_its_id() {
    let stage = Stage::new(half);
    let output = stage.run(&["get", "--background", "https://h/a"]).await;
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "job0\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_from_outside_moves_no_terminal() {
    let stage = Stage::new(half);
    stage.run(&["get", "--background", "https://h/a"]).await;
    stage.change(|job| job.name = "a\u{1b}[2J\u{9b}\u{202e}b".into());
    for args in [
        ["status"].as_slice(),
        &["job", "ls"],
        &["job", "show", "job0"],
        &["job", "show", "job0", "--json"],
        &["job", "headers", "job0"],
    ] {
        let shown = text(&stage.run(args).await.stdout);
        assert!(!shown.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{args:?}: {shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_as_reviewed() {
    let stage = Stage::new(half);
    stage.run(&["get", "--background", "https://h/a"]).await;
    for args in [
        ["job", "ls"].as_slice(),
        &["job", "headers", "job0"],
        &["cache", "info"],
        &["cache", "ls"],
        &["cache", "ls", "--sort", "size", "--limit", "2", "--bytes"],
        &["cache", "ls", "--private", "--url", "nowhere"],
        &["cache", "show", "aaaa"],
        &["cache", "verify", "aaaa"],
        &["cache", "pin", "aaaa"],
        &["cache", "unpin", "aaaa"],
        &["cache", "set", "quota=2GiB"],
        &["cache", "set", "quota=2GiB", "--dry-run"],
        &["cache", "clear", "--dry-run"],
        &["cache", "clear", "--yes"],
        &["cache", "clear", "--yes", "--also-pinned"],
        &["cache", "rm", "bbbb", "aaaa", "aaaa"],
        &["peers", "ls"],
        &["why", "job0"],
        &["report"],
        &["report", "--bytes"],
        &["report", "--by", "mount"],
        &["status"],
    ] {
        let output = stage.run(args).await;
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        insta::assert_snapshot!(args.join("_").replace("--", ""), text(&output.stdout));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_by_condition_must_be_confirmed() {
    let stage = Stage::new(half);
    for args in [["cache", "clear"].as_slice(), &["cache", "rm", "--larger", "1MiB"], &["cache", "clear", "--json"]] {
        let output = stage.run(args).await;
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains("not-confirmed"), "{}", text(&output.stderr));
    }
    assert!(stage.asked().iter().all(|asked| !asked.starts_with("remove")), "{:?}", stage.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_reach_the_node_as_they_were_meant() {
    let stage = Stage::new(half);
    let args =
        "cache ls --url *.iso --host h --larger 1MiB --smaller 2GB --unused-for 30d --complete --pinned --private";
    assert_eq!(stage.run(&args.split(' ').collect::<Vec<_>>()).await.status.code(), Some(0));
    let expected = r#"entities {"url":"*.iso","host":"h","larger":1048576,"smaller":2000000000,"unused_seconds":2592000,"held":"complete","pinned":true,"shareable":false,"limit":1000}"#;
    assert_eq!(stage.asked(), [expected]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_for_programs_is_one_array_in_any_order() {
    let stage = Stage::new(half);
    for (order, first) in [("id", "aaaa"), ("used", "aabb"), ("url", "aaaa"), ("size", "aabb")] {
        let output = stage.run(&["cache", "ls", "--json", "--sort", order]).await;
        let entities: Vec<EntityView> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(entities.len(), 3);
        assert!(entities[0].id.starts_with(first), "{order}");
    }
    let output = stage.run(&["cache", "ls", "--json", "--sort", "id", "--limit", "2"]).await;
    assert_eq!(serde_json::from_slice::<Vec<EntityView>>(&output.stdout).unwrap().len(), 2);
    assert_eq!(stage.run(&["cache", "ls", "--json", "--url", "nowhere"]).await.stdout, b"[]\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn corrupt_content_is_named_and_ends_with_6() {
    let stage = Stage::new(half);
    let output = stage.run(&["cache", "verify", "--all"]).await;
    assert_eq!(output.status.code(), Some(6));
    insta::assert_snapshot!("cache_verify_corrupt", format!("{}{}", text(&output.stdout), text(&output.stderr)));
    let json = stage.run(&["cache", "verify", "--all", "--json"]).await;
    let verified: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&verified["entities"], &verified["corrupt"][0]["corrupt"]), (&3.into(), &65_536.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_written_whole_or_not_at_all() {
    let stage = Stage::new(half);
    let made = stage.run(&["cache", "export", "p", "aaaa"]).await;
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    insta::assert_snapshot!("cache_export", text(&made.stdout));
    assert_eq!(std::fs::read(stage.path("p")).unwrap(), b"a package of 1");
    for (args, exit, code) in [
        (["cache", "export", "p", "aaaa"], 7, "destination-exists"),
        (["cache", "export", "missing/p", "aaaa"], 7, "destination-no-parent"),
        (["cache", "export", "q", "--all"], 8, "store-unusable"),
        (["cache", "export", "q", "cccc"], 11, "entity-not-found"),
    ] {
        let output = stage.run(&args).await;
        assert_eq!(output.status.code(), Some(exit), "{args:?}");
        assert!(text(&output.stderr).starts_with(&format!("error[{code}]")), "{}", text(&output.stderr));
    }
    let names: Vec<_> = std::fs::read_dir(stage.home.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("part") || name == "q"), "{names:?}");
    let piped = stage.run(&["cache", "export", "-", "aaaa"]).await;
    assert_eq!((piped.stdout.as_slice(), piped.status.code()), (&b"a package of 1"[..], Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_taken_in_or_refused_with_the_reason() {
    let stage = Stage::new(half);
    for (name, content) in [("good", "a package of 1"), ("cut", "a package"), ("foreign", "\u{7f}ELF")] {
        std::fs::write(stage.path(name), content).unwrap();
    }
    let taken = stage.run(&["cache", "import", "good"]).await;
    let looked = stage.run(&["cache", "import", "good", "--dry-run"]).await;
    insta::assert_snapshot!("cache_import", text(&taken.stdout));
    insta::assert_snapshot!("cache_import_dry-run", text(&looked.stdout));
    for (args, exit, code) in [
        (["cache", "import", "cut"].as_slice(), 6, "package-damaged"),
        (&["cache", "import", "foreign"], 2, "not-a-package"),
        (&["cache", "import", "missing"], 2, "package-unreadable"),
        (&["cache", "import", "."], 2, "package-unreadable"),
        (&["cache", "import", "good", "--signer", "12D3KooWother"], 6, "package-untrusted"),
    ] {
        let output = stage.run(args).await;
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).starts_with(&format!("error[{code}]")), "{}", text(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_the_node_end_the_command() {
    let stage = Stage::new(half);
    for (args, exit) in [
        (["job", "show", "none"], 11),
        (["job", "headers", "none"], 11),
        (["job", "pause", "none"], 11),
        (["cache", "rm", "aabb"], 12),
        (["cache", "rm", "cccc"], 11),
        (["cache", "show", "cccc"], 11),
        (["cache", "show", "aa"], 2),
    ] {
        assert_eq!(stage.run(&args).await.status.code(), Some(exit), "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_jobs_are_cancelled_only_by_who_confirms_it() {
    let stage = Stage::new(half);
    stage.run(&["get", "https://h/a", "--background"]).await;
    let asked = stage.run(&["job", "purge"]).await;
    let error = text(&asked.stderr);
    assert!(error.starts_with("error[not-confirmed]: ") && error.contains("--yes"), "{error}");
    assert!(!error.contains("--dry-run"), "there is no such option here: {error}");
    assert_eq!(stage.asked(), ["create"]);
    assert_eq!(stage.run(&["job", "purge", "--yes"]).await.status.code(), Some(0));
    assert_eq!(stage.asked(), ["create", "cancel job0"]);
}
