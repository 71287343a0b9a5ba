//! A child process whose output is collected line by line.

use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
pub use rustix::process::Signal;

/// The polite request to end.
pub const SIGTERM: Signal = Signal::TERM;
/// What Ctrl-C sends.
pub const SIGINT: Signal = Signal::INT;
/// Lines kept; a child that says more loses its oldest.
const MAX_LINES: usize = 20_000;
/// How long the end of the output of a child that has ended is waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often an exit is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A running child. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct Running {
    child: Child,
    shown: String,
    lines: Arc<Lines>,
    ended: Option<ExitStatus>,
}

#[derive(Debug, Default)]
struct Lines {
    kept: Mutex<Kept>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Kept {
    lines: std::collections::VecDeque<String>,
    /// Lines that were dropped from the front.
    dropped: usize,
    open_pipes: usize,
}

impl Running {
    /// Starts `command` with stdin closed and both outputs collected.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(mut command: Command) -> Result<Self> {
        let shown = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {shown}"))?;
        let lines = Arc::new(Lines::default());
        lines.kept().open_pipes = 2;
        if let Some(out) = child.stdout.take() {
            collect(out, Arc::clone(&lines));
        }
        if let Some(err) = child.stderr.take() {
            collect(err, Arc::clone(&lines));
        }
        Ok(Self { child, shown, lines, ended: None })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a line, past or future, contains `text`, and returns that line.
    ///
    /// # Errors
    /// When `patience` runs out or all output ends first; with the log.
    pub fn wait_line(&self, text: &str, patience: Duration) -> Result<String> {
        self.wait_line_after(0, text, patience).map(|(line, _)| line)
    }

    /// Like [`Running::wait_line`], looking only at lines from number `from` on; also returns the number that follows the
    /// line, for the next question.
    ///
    /// # Errors
    /// As [`Running::wait_line`].
    pub fn wait_line_after(&self, from: usize, text: &str, patience: Duration) -> Result<(String, usize)> {
        let deadline = Instant::now() + patience;
        let mut next = from;
        let mut kept = self.lines.kept();
        loop {
            let start = next.saturating_sub(kept.dropped);
            if let Some(at) = kept.lines.iter().skip(start).position(|line| line.contains(text)) {
                let at = start + at;
                return Ok((kept.lines[at].clone(), kept.dropped + at + 1));
            }
            next = kept.dropped + kept.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || kept.open_pipes == 0 {
                let why = if left.is_zero() { "in time" } else { "before its output ended" };
                drop(kept);
                bail!("no line with \"{text}\" {why} from {}\n{}", self.shown, self.log());
            }
            kept = self.lines.more.wait_timeout(kept, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs after `patience`; with the log.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.poll_exit()? {
                self.hear_out();
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{} still runs after {patience:?}\n{}", self.shown, self.log());
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until the last words of a child that has ended are collected. Its own children may hold the pipes longer; they
    /// are not waited for.
    fn hear_out(&self) {
        let kept = self.lines.kept();
        let is_talking = |kept: &mut Kept| kept.open_pipes > 0;
        drop(self.lines.more.wait_timeout_while(kept, LAST_WORDS, is_talking));
    }

    /// Its exit status, if it has ended.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn poll_exit(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }

    /// Sends a signal, if it still runs.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.poll_exit()?.is_some() {
            return Ok(());
        }
        let id = i32::try_from(self.child.id())?;
        let pid = rustix::process::Pid::from_raw(id).context("process id 0")?;
        rustix::process::kill_process(pid, signal).context("signal")
    }

    /// Kills it as a power cut would (`kill -9`) and waits for its end.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        self.child.kill()?;
        let status = self.child.wait()?;
        self.ended = Some(status);
        Ok(status)
    }

    /// Asks it to end and waits for it.
    ///
    /// # Errors
    /// When it does not end within `patience`.
    pub fn stop(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.signal(SIGTERM)?;
        self.wait(patience)
    }

    /// Resident memory now, in bytes.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.status_bytes("VmRSS:")
    }

    /// The most resident memory since the start or since [`Running::forget_peak`], in bytes.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn peak_resident_bytes(&self) -> Result<u64> {
        self.status_bytes("VmHWM:")
    }

    /// Resident memory that no file is behind, in bytes.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn anonymous_bytes(&self) -> Result<u64> {
        self.status_bytes("RssAnon:")
    }

    /// Lets the peak of resident memory begin anew (`clear_refs` of proc(5)).
    ///
    /// # Errors
    /// When the process has ended, or is another user's.
    pub fn forget_peak(&self) -> Result<()> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.id()), "5")?)
    }

    fn status_bytes(&self, field: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).with_context(|| field.to_owned())?;
        let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kib * 1_024)
    }

    /// Bytes that arrived so far at the interface `device` of the network namespace in which it runs.
    ///
    /// # Errors
    /// When the process has ended, or has no such interface.
    pub fn link_received(&self, device: &str) -> Result<u64> {
        let table = std::fs::read_to_string(format!("/proc/{}/net/dev", self.id()))?;
        let row = table.lines().find_map(|line| line.trim_start().strip_prefix(device)?.strip_prefix(':'));
        let first = row.and_then(|row| row.split_whitespace().next()).with_context(|| format!("no {device}"))?;
        Ok(first.parse()?)
    }

    /// Datagrams that the kernel has dropped so far in the network namespace in which it runs, for want of room in a socket.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn dropped_datagrams(&self) -> Result<u64> {
        let table = std::fs::read_to_string(format!("/proc/{}/net/udp", self.id()))?;
        let drops = table.lines().skip(1).filter_map(|row| row.split_whitespace().last()?.parse::<u64>().ok());
        Ok(drops.sum())
    }

    /// CPU time used so far, user and system, in the kernel's ticks of 10 ms.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        // Fields 14 and 15, counted after the name, which may contain anything but ends with the last ')'.
        let (_, rest) = stat.rsplit_once(')').context("stat without a name")?;
        let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// All that it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        let kept = self.lines.kept();
        kept.lines.iter().fold(String::new(), |log, line| log + line + "\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let was_over = self.ended.is_some();
        let _ = self.kill();
        if thread::panicking() {
            let how = self.ended.map_or("?".to_owned(), |status| match status.signal() {
                Some(_) if !was_over => "killed by the test".to_owned(),
                _ => status.to_string(),
            });
            eprintln!("--- {} ({how})\n{}---", self.shown, self.log());
        }
    }
}

impl Lines {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads `pipe` to its end on a thread of its own; the thread ends with the child.
fn collect(pipe: impl Read + Send + 'static, lines: Arc<Lines>) {
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let mut kept = lines.kept();
            if kept.lines.len() == MAX_LINES {
                kept.lines.pop_front();
                kept.dropped += 1;
            }
            kept.lines.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
            drop(kept);
            lines.more.notify_all();
            line.clear();
        }
        lines.kept().open_pipes -= 1;
        lines.more.notify_all();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Running {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Running::start(command).unwrap()
    }

    #[test]
    fn lines_are_found_in_order_and_the_end_of_output_is_not_waited_out() {
        let mut child = shell("echo one; echo two >&2; echo one again");
        let (line, next) = child.wait_line_after(0, "one", PATIENCE).unwrap();
        assert_eq!(line, "one");
        assert_eq!(child.wait_line("two", PATIENCE).unwrap(), "two");
        child.wait_line_after(next, "one again", PATIENCE).unwrap();
        let before = Instant::now();
        assert!(child.wait_line("three", PATIENCE).unwrap_err().to_string().contains("before its output ended"));
        assert!(before.elapsed() < PATIENCE);
        assert!(child.wait(PATIENCE).unwrap().success());
    }

    #[test]
    fn a_dropped_child_is_dead() {
        let child = shell("echo up; exec sleep 1000");
        child.wait_line("up", PATIENCE).unwrap();
        let proc = format!("/proc/{}", child.id());
        assert!(std::path::Path::new(&proc).exists());
        drop(child);
        assert!(!std::path::Path::new(&proc).exists());
    }

    #[test]
    fn a_polite_stop_lets_the_child_say_goodbye() {
        let mut child = shell("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done");
        child.wait_line("up", PATIENCE).unwrap();
        assert_eq!(child.stop(PATIENCE).unwrap().code(), Some(3));
        child.wait_line("bye", PATIENCE).unwrap();
    }
}
