//! What can be said of a job before anybody has tried it: both the command line and the node refuse the same.

use super::job::{MAX_BATCH, MAX_FILES, MAX_NAME};
use super::terms::{MAX_DESCRIPTION, MAX_HEADERS, MAX_HOOK, MAX_METHOD, MAX_PROXY, MAX_SECONDS, MAX_SECRET, MAX_USER};
use super::{Authorization, ByteRange, FileSpec, JobBatch, JobChange, JobSpec, MoreFiles, Problem, RangeOrder, Terms};
use crate::catalogue::ErrorCode;
use data_encoding::HEXLOWER_PERMISSIVE;
use eddy_content::digest::{DigestAlgorithm, ExpectedDigest};
use eddy_content::url::{ResourceUrl, TypedUrl, UrlError};
use eddy_engine::job::portion::{MAX_RANGES, RangesError};
use eddy_engine::{Demand, Portion, Ranges};
use std::collections::HashSet;
use std::path::{Component, Path};

/// Bytes of the longest path that Linux takes, without the final zero.
const MAX_PATH: usize = 4095;

impl JobSpec {
    /// Refuses a job that cannot be tried: no files or too many, a URL, digest or destination that cannot be read.
    pub fn check(&self) -> Result<(), Problem> {
        if self.files.is_empty() && self.start {
            return Err(ErrorCode::EmptyJob.into());
        }
        check_name(self.name.as_deref())?;
        self.terms.check()?;
        check_files(&self.files)
    }
}

impl JobBatch {
    /// Refuses a batch that is empty or too long, or has what the API's document rules out; otherwise its jobs are looked at one by one.
    pub fn check(&self) -> Result<(), Problem> {
        if !(1..=MAX_BATCH).contains(&self.jobs.len()) {
            let detail = format!("a batch has 1 to {MAX_BATCH} jobs, not {}", self.jobs.len());
            return Err(Problem::new(ErrorCode::BadRequest, detail));
        }
        self.jobs.iter().flat_map(|job| &job.files).try_for_each(FileSpec::check_bounds)?;
        self.jobs.iter().try_for_each(|job| job.terms.check_bounds())
    }
}

impl MoreFiles {
    /// Refuses files that cannot be tried.
    pub fn check(&self) -> Result<(), Problem> {
        if self.files.is_empty() {
            return Err(ErrorCode::EmptyJob.into());
        }
        check_files(&self.files)
    }
}

impl JobChange {
    /// Refuses a change that cannot be made.
    pub fn check(&self) -> Result<(), Problem> {
        check_name(self.name.as_deref())?;
        self.terms.as_ref().map_or(Ok(()), Terms::check)?;
        for change in &self.urls {
            parse_url(&change.url)?;
        }
        // Every URL begins with nothing: it would be put in front of all of them.
        if self.relocate.as_ref().is_some_and(|relocation| relocation.from.is_empty()) {
            return Err(Problem::new(ErrorCode::BadRequest, "`relocate` says with nothing how the old URLs begin"));
        }
        Ok(())
    }
}

impl Terms {
    /// Refuses what the API's document rules out by a number.
    fn check_bounds(&self) -> Result<(), Problem> {
        let times = [self.retry_delay_seconds, self.give_up_after_seconds, self.max_transfer_seconds];
        if times.into_iter().flatten().any(|seconds| seconds > MAX_SECONDS) {
            return Err(Problem::new(ErrorCode::BadAmount, format!("a time has at most {MAX_SECONDS} seconds")));
        }
        if self.limit_bytes_per_second.is_some_and(|limit| i64::try_from(limit).is_err()) {
            return Err(Problem::new(ErrorCode::BadAmount, "no line brings so many bytes a second"));
        }
        for (what, name) in [("a hook", &self.hook), ("a certificate", &self.client_certificate)] {
            if name.as_ref().is_some_and(|name| name.chars().count() > MAX_HOOK) {
                let detail = format!("the name of {what} has at most {MAX_HOOK} characters");
                return Err(Problem::new(ErrorCode::TooLong, detail));
            }
        }
        if self.method.as_ref().is_some_and(|method| method.chars().count() > MAX_METHOD) {
            return Err(Problem::new(ErrorCode::TooLong, format!("a method has at most {MAX_METHOD} characters")));
        }
        Ok(())
    }

    /// Refuses terms that no job can have.
    pub fn check(&self) -> Result<(), Problem> {
        let bound = |text: Option<&str>, most: usize, what: &str| {
            let is_within = text.is_none_or(|text| text.chars().count() <= most);
            let problem = || Problem::new(ErrorCode::TooLong, format!("{what} at most {most} characters"));
            is_within.then_some(()).ok_or_else(problem)
        };
        bound(self.description.as_deref(), MAX_DESCRIPTION, "a description has")?;
        bound(self.proxy.as_deref(), MAX_PROXY, "a proxy has")?;
        self.check_bounds()?;
        self.method.as_deref().map_or(Ok(()), check_method)?;
        let headers: usize = self.headers.iter().map(|field| field.name.len() + field.value.len() + 4).sum();
        if headers > MAX_HEADERS {
            return Err(Problem::new(
                ErrorCode::TooLong,
                format!("header fields have at most {MAX_HEADERS} characters"),
            ));
        }
        let bad = |why: &str| Err(Problem::new(ErrorCode::BadCredentials, why));
        match &self.authorization {
            Some(Authorization::Basic { user, password } | Authorization::Digest { user, password }) => {
                bound(Some(user), MAX_USER, "a user name has")?;
                bound(Some(password), MAX_SECRET, "a password has")?;
                match () {
                    () if user.is_empty() => bad("the user name is empty"),
                    // RFC 7617 section 2, RFC 7616 section 3.4.2.
                    () if user.contains(':') => bad("a user name has no colon"),
                    () if user.chars().chain(password.chars()).any(char::is_control) => bad("control characters"),
                    () => Ok(()),
                }
            }
            Some(Authorization::Bearer { token }) => {
                bound(Some(token), MAX_SECRET, "a token has")?;
                // RFC 6750 section 2.1: visible characters, none of which is a space.
                let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
                if is_token { Ok(()) } else { bad("a token has visible characters only") }
            }
            None => Ok(()),
        }
    }
}

/// Refuses what is no method (RFC 9110 section 5.6.2), and what brings no file or is not for a user to send.
fn check_method(text: &str) -> Result<(), Problem> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let refused = |why: String| Err(Problem::new(ErrorCode::BadMethod, why));
    match text {
        _ if !text.bytes().all(is_token) => refused("a method is a word of letters, in capitals as a rule".to_owned()),
        // Methods are case-sensitive; a server that is not must not be reached by another spelling.
        _ if ["HEAD", "TRACE", "CONNECT"].iter().any(|word| text.eq_ignore_ascii_case(word)) => {
            refused(format!("{text} brings no file"))
        }
        _ => Ok(()),
    }
}

fn check_name(name: Option<&str>) -> Result<(), Problem> {
    if name.is_some_and(|name| name.chars().count() > MAX_NAME) {
        return Err(Problem::new(ErrorCode::TooLong, format!("a name has at most {MAX_NAME} characters")));
    }
    Ok(())
}

fn check_files(files: &[FileSpec]) -> Result<(), Problem> {
    if files.len() > MAX_FILES {
        return Err(Problem::new(ErrorCode::TooManyFiles, format!("{} files", files.len())));
    }
    let mut destinations = HashSet::new();
    for file in files {
        file.check()?;
        if !destinations.insert(&file.destination) {
            return Err(Problem::new(ErrorCode::DestinationTwice, file.destination.clone()));
        }
    }
    Ok(())
}

impl FileSpec {
    /// Refuses what the API's document rules out by a number.
    fn check_bounds(&self) -> Result<(), Problem> {
        let is_empty = |range: &ByteRange| range.length == Some(0);
        if self.ranges.len() > MAX_RANGES || self.ranges.iter().any(is_empty) {
            portion(self)?;
        }
        self.ranges.iter().try_for_each(check_place)
    }

    /// Refuses a file that cannot be tried.
    pub fn check(&self) -> Result<(), Problem> {
        parse_url(&self.url)?;
        check_destination(&self.destination)?;
        self.check_bounds()?;
        portion(self)?;
        self.digest.as_deref().map_or(Ok(()), |digest| parse_digest(digest).map(|_| ()))
    }
}

/// Reads a URL as somebody wrote it. The text itself is never repeated in the problem: it may hold a secret (T-36).
pub fn parse_url(text: &str) -> Result<TypedUrl, Problem> {
    TypedUrl::parse(text).map_err(|error| {
        let code = match error {
            UrlError::Scheme(_) => ErrorCode::UnknownScheme,
            UrlError::TooLong => ErrorCode::TooLong,
            UrlError::Malformed(_) | UrlError::NoHost => ErrorCode::BadUrl,
        };
        let mut problem = Problem::new(code, error.to_string());
        if let Some(meant) = with_scheme(text) {
            problem.remedy = format!("Write how it is asked as well: https://{meant} or http://{meant}.");
        }
        problem
    })
}

/// What somebody has written who left the scheme out; nothing where that is not it, or a secret may stand in it.
fn with_scheme(text: &str) -> Option<&str> {
    let host = text.split('/').next()?;
    let is_host = host.contains('.') || host.split(':').next() == Some("localhost");
    let is_open = !text.contains("://") && !text.contains(['@', '?']);
    (is_host && is_open && TypedUrl::parse(&format!("https://{text}")).is_ok()).then_some(text)
}

impl RangeOrder {
    /// Refuses what cannot be asked of any file.
    pub fn check(&self) -> Result<(), Problem> {
        if self.ranges.len() > MAX_RANGES {
            return Err(of_ranges(RangesError::TooMany(self.ranges.len())));
        }
        self.ranges.iter().try_for_each(check_place)?;
        check_byte(self.position.unwrap_or_default())?;
        Demand::default().add(&in_engine(&self.ranges)).map_err(of_ranges)
    }

    /// What it makes of what was asked for before.
    pub fn onto(&self, mut demand: Demand) -> Result<Demand, Problem> {
        demand.add(&in_engine(&self.ranges)).map_err(of_ranges)?;
        if let Some(position) = self.position {
            demand.begin_at(position);
        }
        Ok(demand)
    }
}

/// Refuses a range that no file has room for: the document's numbers have 63 bits.
fn check_place(range: &ByteRange) -> Result<(), Problem> {
    check_byte(range.offset)?;
    check_byte(range.length.unwrap_or_default())
}

fn check_byte(at: u64) -> Result<(), Problem> {
    if i64::try_from(at).is_err() {
        return Err(Problem::new(ErrorCode::BadRange, format!("no file has {at} bytes")));
    }
    Ok(())
}

/// How much of a file is wanted.
pub fn portion(file: &FileSpec) -> Result<Portion, Problem> {
    match (file.ranges.as_slice(), file.on_demand) {
        ([], false) => Ok(Portion::Whole),
        ([], true) => Ok(Portion::OnDemand(Demand::default())),
        (_, true) => Err(Problem::new(ErrorCode::BadRange, "ranges of a file on demand are asked for later")),
        (ranges, false) => Ranges::new(in_engine(ranges)).map(Portion::Ranges).map_err(of_ranges),
    }
}

fn in_engine(ranges: &[ByteRange]) -> Vec<eddy_engine::ByteRange> {
    ranges.iter().map(|&ByteRange { offset, length }| eddy_engine::ByteRange { offset, length }).collect()
}

fn of_ranges(error: RangesError) -> Problem {
    let code = match error {
        RangesError::None | RangesError::Length { .. } => ErrorCode::BadRange,
        RangesError::TooMany(_) | RangesError::Scattered(_) => ErrorCode::TooManyRanges,
        RangesError::Overlap(..) => ErrorCode::RangesOverlap,
    };
    Problem::new(code, error.to_string())
}

/// Reads ranges of a file as somebody types them: `0-1023,4096-`, first and last byte, as HTTP writes them.
pub fn parse_ranges(text: &str) -> Result<Vec<ByteRange>, Problem> {
    let ranges = read_ranges(text)?;
    Ranges::new(in_engine(&ranges)).map_err(of_ranges)?;
    Ok(ranges)
}

/// The same for what is asked for on demand: it may overlap.
pub fn read_ranges(text: &str) -> Result<Vec<ByteRange>, Problem> {
    let bad = |part: &str| Problem::new(ErrorCode::BadRange, format!("`{part}` is no range"));
    let range = |part: &str| -> Result<ByteRange, Problem> {
        let (first, last) = part.trim().split_once('-').ok_or_else(|| bad(part))?;
        let number = |digits: &str| digits.parse::<u64>().map_err(|_| bad(part));
        let offset = number(first)?;
        if last.is_empty() {
            return Ok(ByteRange { offset, length: None });
        }
        let length = number(last)?.checked_sub(offset).and_then(|more| more.checked_add(1)).ok_or_else(|| bad(part))?;
        Ok(ByteRange { offset, length: Some(length) })
    };
    text.split(',').map(range).collect()
}

/// The file name that a URL suggests, safe as one component of a path (T-27); `None` if it suggests none.
#[must_use]
pub fn file_name(url: &str) -> Option<String> {
    ResourceUrl::parse(url).ok()?.file_name()
}

/// Reads a digest: `algorithm:hex`.
pub fn parse_digest(text: &str) -> Result<ExpectedDigest, Problem> {
    let bad = |why: String| Problem::new(ErrorCode::BadDigest, why);
    let (name, hex) =
        text.split_once(':').ok_or_else(|| bad("there is no colon between algorithm and hex digits".into()))?;
    let (algorithm, length) = match name.to_ascii_lowercase().as_str() {
        "blake3" => (DigestAlgorithm::Blake3, 32),
        "sha512" | "sha-512" => (DigestAlgorithm::Sha512, 64),
        "sha256" | "sha-256" => (DigestAlgorithm::Sha256, 32),
        "sha1" | "sha-1" => (DigestAlgorithm::Sha1, 20),
        "md5" => (DigestAlgorithm::Md5, 16),
        _ => return Err(bad("the algorithm is unknown".into())),
    };
    let value = HEXLOWER_PERMISSIVE.decode(hex.trim().as_bytes()).map_err(|_| bad("these are no hex digits".into()))?;
    if value.len() != length {
        return Err(bad(format!("{name} has {} hex digits, here are {}", 2 * length, 2 * value.len())));
    }
    Ok(ExpectedDigest { algorithm, value })
}

/// Refuses what is not the absolute path of a file. Whether it can be written is another question.
fn check_destination(text: &str) -> Result<(), Problem> {
    let bad = |why: &str| Err(Problem::new(ErrorCode::BadDestination, format!("{text}: {why}")));
    if text.len() > MAX_PATH {
        return Err(Problem::new(ErrorCode::TooLong, format!("a path has at most {MAX_PATH} bytes")));
    }
    let path = Path::new(text);
    if !path.is_absolute() {
        return bad("it is not absolute");
    }
    if text.contains('\0') {
        return bad("it contains a zero byte");
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return bad("it contains `..`");
    }
    if text.ends_with('/') || text.ends_with("/.") || path.file_name().is_none() {
        return bad("it names a directory");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{HeaderField, Relocation};

    fn file(url: &str, destination: &str, digest: Option<&str>) -> FileSpec {
        FileSpec {
            url: url.into(),
            destination: destination.into(),
            digest: digest.map(str::to_owned),
            overwrite: false,
            ranges: Vec::new(),
            on_demand: false,
        }
    }

    fn refusal(file: &FileSpec) -> Option<ErrorCode> {
        file.check().err().and_then(|problem| problem.error_code())
    }

    #[test]
    fn who_leaves_the_scheme_out_is_shown_the_whole_url_and_no_secret_is_repeated() {
        let remedy = |text: &str| parse_url(text).unwrap_err().remedy;
        for text in ["example.org/file.iso", "127.0.0.1:8765/f", "localhost:80/x"] {
            assert!(remedy(text).contains(&format!("https://{text} or http://{text}")), "{}", remedy(text));
        }
        for text in ["file", "/etc/passwd", "me:secret@example.org/x", "example.org/x?token=1", "ftp://h.example/x"] {
            assert!(!remedy(text).contains(text), "{}", remedy(text));
        }
    }

    #[test]
    fn urls_are_not_relocated_from_nothing() {
        let code = |from: &str| {
            let relocate = Some(Relocation { from: from.to_owned(), to: "http://h/".to_owned() });
            let change = JobChange { relocate, ..JobChange::default() };
            change.check().err().and_then(|problem| problem.error_code())
        };
        assert_eq!((code(""), code("http://g/")), (Some(ErrorCode::BadRequest), None));
    }

    #[test]
    fn each_fault_of_a_file_has_its_code() {
        let sha = format!("sha256:{}", "a".repeat(64));
        let cases = [
            ("https://h/a", "/d/a", None, None),
            ("https://h/a", "/d/a", Some(sha.as_str()), None),
            ("ftp://h/a", "/d/a", None, Some(ErrorCode::UnknownScheme)),
            ("nonsense", "/d/a", None, Some(ErrorCode::BadUrl)),
            ("https://", "/d/a", None, Some(ErrorCode::BadUrl)),
            ("https://h/a", "a", None, Some(ErrorCode::BadDestination)),
            ("https://h/a", "/d/../a", None, Some(ErrorCode::BadDestination)),
            ("https://h/a", "/d/", None, Some(ErrorCode::BadDestination)),
            ("https://h/a", "/", None, Some(ErrorCode::BadDestination)),
            ("https://h/a", "/d/\0", None, Some(ErrorCode::BadDestination)),
            ("https://h/a", "/d/a", Some("sha256:12"), Some(ErrorCode::BadDigest)),
            ("https://h/a", "/d/a", Some("crc32:12345678"), Some(ErrorCode::BadDigest)),
            ("https://h/a", "/d/a", Some("12345678"), Some(ErrorCode::BadDigest)),
        ];
        for (url, destination, digest, code) in cases {
            assert_eq!(refusal(&file(url, destination, digest)), code, "{url} {destination} {digest:?}");
        }
    }

    #[test]
    fn a_range_that_the_document_has_no_number_for_is_refused() {
        for (offset, length) in [(1 << 63, Some(1)), (0, Some(1 << 63)), (u64::MAX, None)] {
            let order = RangeOrder { ranges: vec![ByteRange { offset, length }], ..RangeOrder::default() };
            assert_eq!(order.check().err().and_then(|problem| problem.error_code()), Some(ErrorCode::BadRange));
        }
    }

    #[test]
    fn ranges_are_read_as_http_writes_them_and_each_fault_has_its_code() {
        let read = parse_ranges("4096-,0-1023, 2000-2000").expect("ranges");
        let read: Vec<_> = read.iter().map(|range| (range.offset, range.length)).collect();
        assert_eq!(read, [(4096, None), (0, Some(1024)), (2000, Some(1))]);
        let many = (0..501).map(|at| format!("{0}-{0}", 2 * at)).collect::<Vec<_>>().join(",");
        let cases = [
            ("", ErrorCode::BadRange),
            ("5", ErrorCode::BadRange),
            ("-500", ErrorCode::BadRange),
            ("9-8", ErrorCode::BadRange),
            ("0-18446744073709551615", ErrorCode::BadRange),
            ("0-9,x-", ErrorCode::BadRange),
            ("0-9,9-12", ErrorCode::RangesOverlap),
            ("5-,100-200", ErrorCode::RangesOverlap),
            (many.as_str(), ErrorCode::TooManyRanges),
        ];
        for (text, code) in cases {
            assert_eq!(parse_ranges(text).err().and_then(|problem| problem.error_code()), Some(code), "{text}");
        }
        let nothing =
            FileSpec { ranges: vec![ByteRange { offset: 0, length: Some(0) }], ..file("https://h/a", "/d/a", None) };
        assert_eq!(refusal(&nothing), Some(ErrorCode::BadRange));
    }

    #[test]
    fn f68_a_method_is_a_word_that_brings_a_file() {
        for (method, is_legal) in [
            ("POST", true),
            ("", true),
            ("M-SEARCH", true),
            ("TRACE", false),
            ("connect", false),
            ("HEAD", false),
            ("A B", false),
        ] {
            let terms = Terms { method: Some(method.to_owned()), ..Terms::default() };
            let code = terms.check().err().and_then(|problem| problem.error_code());
            assert_eq!(code, (!is_legal).then_some(ErrorCode::BadMethod), "{method:?}");
        }
    }

    #[test]
    fn what_a_job_says_has_the_bounds_of_bits() {
        let code = |terms: Terms| terms.check().err().and_then(|problem| problem.error_code());
        let text = |length: usize| "x".repeat(length);
        let basic = |user, password| Some(Authorization::Basic { user, password });
        let digest = |user, password| Some(Authorization::Digest { user, password });
        let field = |length| vec![HeaderField { name: text(10), value: text(length), secret: false }];
        let (said, header) =
            (|length| Some(text(length)), |length| Terms { headers: field(length), ..Terms::default() });
        let proved = |authorization| Terms { authorization, ..Terms::default() };
        let bounds = [
            // F-4, F-67, F-69.
            (
                Terms { description: said(1024), ..Terms::default() },
                Terms { description: said(1025), ..Terms::default() },
            ),
            (header(16_384 - 14), header(16_384 - 13)),
            (proved(basic(text(300), text(65_535))), proved(basic(text(301), text(1)))),
            (proved(digest(text(300), text(65_535))), proved(digest(text(1), text(65_536)))),
        ];
        for (most, more) in bounds {
            assert_eq!((code(most), code(more.clone())), (None, Some(ErrorCode::TooLong)), "{more:?}");
        }
        for wrong in [digest(text(0), text(1)), digest("a:b".to_owned(), text(1)), basic(text(1), "\n".to_owned())] {
            assert_eq!(code(proved(wrong)), Some(ErrorCode::BadCredentials));
        }
        assert!(check_name(Some(&text(256))).is_ok() && check_name(Some(&text(257))).is_err());
    }

    #[test]
    fn two_files_cannot_have_one_destination() {
        let files = vec![file("https://h/a", "/d", None), file("https://h/b", "/d", None)];
        let job: JobSpec = serde_json::from_value(serde_json::json!({ "files": files })).expect("a job");
        assert_eq!(job.check().expect_err("refused").error_code(), Some(ErrorCode::DestinationTwice));
    }

    #[test]
    fn a_problem_never_repeats_a_url() {
        for url in ["ftp://u:geheim@h/geheim?geheim", "//geheim", "https://:geheim@"] {
            let problem = file(url, "/d", None).check().expect_err("refused");
            assert!(!format!("{problem:?}").contains("geheim"), "{problem:?}");
        }
    }
}
