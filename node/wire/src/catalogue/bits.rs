//! The codes of BITS, and what eddy says where BITS would say them.
//!
//! Every result, every HTTP status in BITS's clothes, the Win32 results and the messages of the system's log that BITS's own
//! documentation names for it. `eddy explain` takes them by number or by name.

use super::ErrorCode::{self as E};

/// A code of BITS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitsCode {
    /// The number.
    pub number: u32,
    /// The name, without `BG_E_`.
    pub name: &'static str,
    /// What it means there.
    pub meaning: &'static str,
    /// What eddy says.
    pub eddy: Answer,
}

/// What eddy says where BITS would say a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// This error.
    Code(E),
    /// It never comes to that, for this reason.
    Never(&'static str),
}

/// How HTTP statuses stand among BITS's codes: this, and the status.
const HTTP: u32 = 0x8019_0000;

impl BitsCode {
    /// The code that a text names: by number with or without `0x`, or by name with or without `BG_E_`, in any case.
    #[must_use]
    pub fn lookup(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_uppercase().replace('-', "_");
        let number = u32::from_str_radix(text.strip_prefix("0X").unwrap_or(&text), 16).ok().filter(|_| text.len() >= 8);
        let name = text.strip_prefix("BG_E_").or_else(|| text.strip_prefix("BG_")).unwrap_or(&text);
        let found = TABLE.iter().find(|row| Some(row.number) == number || row.name == name);
        found.copied().or_else(|| Self::of_http(number?))
    }

    /// A status of HTTP.
    fn of_http(number: u32) -> Option<Self> {
        let status = u16::try_from(number.checked_sub(HTTP)?).ok().filter(|status| (100..600).contains(status))?;
        let eddy = match E::from_http_status(status) {
            Some(code) => Answer::Code(code),
            None => Answer::Never("this status of HTTP is no error"),
        };
        Some(Self {
            number,
            name: "HTTP_ERROR",
            meaning: "the server answered with the status in the last digits",
            eddy,
        })
    }
}

const fn row(number: u32, name: &'static str, meaning: &'static str, eddy: Answer) -> BitsCode {
    BitsCode { number, name, meaning, eddy }
}

/// Every code but the statuses of HTTP.
#[rustfmt::skip]
pub const TABLE: [BitsCode; 117] = [
    row(0x8020_0001, "NOT_FOUND", "no such job", Answer::Code(E::JobNotFound)),
    row(0x8020_0002, "INVALID_STATE", "not allowed in this state", Answer::Code(E::WrongState)),
    row(0x8020_0003, "EMPTY", "a job without files was to run", Answer::Code(E::EmptyJob)),
    row(0x8020_0004, "FILE_NOT_AVAILABLE", "the error has no file", Answer::Never("eddy's errors name their object in the detail, so there is no call that could fail so")),
    row(0x8020_0005, "PROTOCOL_NOT_AVAILABLE", "the error has no protocol", Answer::Code(E::UnknownScheme)),
    row(0x8020_0007, "ERROR_CONTEXT_UNKNOWN", "context of an error: unknown", Answer::Never("the class of eddy's error says whose fault it is")),
    row(0x8020_0008, "ERROR_CONTEXT_GENERAL_QUEUE_MANAGER", "context of an error: the queue", Answer::Code(E::Internal)),
    row(0x8020_0009, "ERROR_CONTEXT_LOCAL_FILE", "context of an error: the local file", Answer::Code(E::DestinationNotWritable)),
    row(0x8020_000a, "ERROR_CONTEXT_REMOTE_FILE", "context of an error: the remote file", Answer::Never("the class of eddy's error is then `origin`")),
    row(0x8020_000b, "ERROR_CONTEXT_GENERAL_TRANSPORT", "context of an error: the transport", Answer::Never("the class of eddy's error is then `network`")),
    row(0x8020_000c, "ERROR_CONTEXT_QUEUE_MANAGER_NOTIFICATION", "context of an error: a notification", Answer::Never("eddy calls nobody back; programs follow its events")),
    row(0x8020_000d, "DESTINATION_LOCKED", "the volume is locked", Answer::Code(E::DiskFailed)),
    row(0x8020_000e, "VOLUME_CHANGED", "another disk is there now", Answer::Code(E::DestinationNoParent)),
    row(0x8020_000f, "ERROR_INFORMATION_UNAVAILABLE", "the job is in no error", Answer::Never("a job without an error simply shows none")),
    row(0x8020_0010, "NETWORK_DISCONNECTED", "no usable network", Answer::Code(E::NetworkLost)),
    row(0x8020_0011, "MISSING_FILE_SIZE", "the server names no length", Answer::Never("eddy fetches such a file as one stream")),
    row(0x8020_0012, "INSUFFICIENT_HTTP_SUPPORT", "the server does not speak HTTP/1.1", Answer::Never("eddy takes HTTP/1.0 as well")),
    row(0x8020_0013, "INSUFFICIENT_RANGE_SUPPORT", "the server, or a box on the way, does not do ranges well", Answer::Never("eddy asks for the whole file then")),
    row(0x8020_0014, "REMOTE_NOT_SUPPORTED", "no use from another machine", Answer::Code(E::NotPermitted)),
    row(0x8020_0015, "NEW_OWNER_DIFF_MAPPING", "the new owner sees other drives", Answer::Never("paths are the same for everybody on Linux")),
    row(0x8020_0016, "NEW_OWNER_NO_FILE_ACCESS", "the new owner may not write the files", Answer::Code(E::DestinationNotWritable)),
    row(0x8020_0018, "PROXY_LIST_TOO_LARGE", "the proxy list is too long", Answer::Code(E::TooLong)),
    row(0x8020_0019, "PROXY_BYPASS_LIST_TOO_LARGE", "the proxy bypass list is too long", Answer::Code(E::TooLong)),
    row(0x8020_001b, "INVALID_SERVER_RESPONSE", "the answer is malformed", Answer::Code(E::OriginProtocol)),
    row(0x8020_001c, "TOO_MANY_FILES", "a second file in an upload", Answer::Never("this version of eddy does not upload")),
    row(0x8020_001d, "LOCAL_FILE_CHANGED", "the file changed while it was uploaded", Answer::Never("this version of eddy does not upload")),
    row(0x8020_001e, "ERROR_CONTEXT_REMOTE_APPLICATION", "context of an error: the server's application", Answer::Never("the class of eddy's error is then `origin`")),
    row(0x8020_001f, "SESSION_NOT_FOUND", "the upload's session is gone", Answer::Never("this version of eddy does not upload")),
    row(0x8020_0020, "TOO_LARGE", "larger than the server takes", Answer::Never("this version of eddy does not upload")),
    row(0x8020_0021, "STRING_TOO_LONG", "a text is too long", Answer::Code(E::TooLong)),
    row(0x8020_0022, "CLIENT_SERVER_PROTOCOL_MISMATCH", "no common protocol", Answer::Code(E::PeerProtocol)),
    row(0x8020_0023, "SERVER_EXECUTE_ENABLE", "the upload directory may run scripts", Answer::Never("this version of eddy does not upload")),
    row(0x8020_0024, "NO_PROGRESS", "no bytes moved", Answer::Code(E::OriginTimeout)),
    row(0x8020_0025, "USERNAME_TOO_LARGE", "the user name is too long", Answer::Code(E::TooLong)),
    row(0x8020_0026, "PASSWORD_TOO_LARGE", "the password is too long", Answer::Code(E::TooLong)),
    row(0x8020_0027, "INVALID_AUTH_TARGET", "neither server nor proxy", Answer::Code(E::BadCredentials)),
    row(0x8020_0028, "INVALID_AUTH_SCHEME", "no such scheme of authentication", Answer::Code(E::BadCredentials)),
    row(0x8020_0029, "FILE_NOT_FOUND", "the file is not part of the job", Answer::Code(E::FileNotInJob)),
    row(0x8020_002b, "INVALID_RANGE", "a range lies outside of the file", Answer::Code(E::RangeOutside)),
    row(0x8020_002c, "OVERLAPPING_RANGES", "ranges overlap", Answer::Code(E::RangesOverlap)),
    row(0x8020_002d, "CONNECT_FAILURE", "no connection", Answer::Code(E::ConnectionRefused)),
    row(0x8020_002e, "CONNECTION_CLOSED", "the connection broke off", Answer::Code(E::ConnectionLost)),
    row(0x8020_003e, "BLOCKED_BY_POLICY", "a bandwidth window of zero", Answer::Never("this version of eddy has no bandwidth windows")),
    row(0x8020_003f, "INVALID_PROXY_INFO", "the proxy cannot be used", Answer::Code(E::BadProxy)),
    row(0x8020_0040, "INVALID_CREDENTIALS", "the credentials have a wrong form", Answer::Code(E::BadCredentials)),
    row(0x8020_0041, "INVALID_HASH_ALGORITHM", "an unknown digest", Answer::Code(E::BadDigest)),
    row(0x8020_0042, "RECORD_DELETED", "the entry of the cache is gone", Answer::Code(E::EntityNotFound)),
    row(0x8020_0043, "COMMIT_IN_PROGRESS", "the entry of the cache is being written", Answer::Code(E::EntityInUse)),
    row(0x8020_0044, "DISCOVERY_IN_PROGRESS", "peers are being looked for already", Answer::Never("eddy looks for peers all the time")),
    row(0x8020_0045, "UPNP_ERROR", "the gateway's counters failed", Answer::Never("eddy does not ask gateways")),
    row(0x8020_0046, "TEST_OPTION_BLOCKED_DOWNLOAD", "a hook for tests", Answer::Never("it has no counterpart")),
    row(0x8020_0047, "PEERCACHING_DISABLED", "peers are off", Answer::Code(E::GroupMissing)),
    row(0x8020_0048, "BUSYCACHERECORD", "the entry of the cache is in use", Answer::Code(E::EntityInUse)),
    row(0x8020_0049, "TOO_MANY_JOBS_PER_USER", "too many jobs of one user", Answer::Code(E::TooManyJobs)),
    row(0x8020_0050, "TOO_MANY_JOBS_PER_MACHINE", "too many jobs", Answer::Code(E::TooManyJobs)),
    row(0x8020_0051, "TOO_MANY_FILES_IN_JOB", "too many files in a job", Answer::Code(E::TooManyFiles)),
    row(0x8020_0052, "TOO_MANY_RANGES_IN_FILE", "too many ranges of a file", Answer::Code(E::TooManyRanges)),
    row(0x8020_0053, "VALIDATION_FAILED", "the bytes were rejected", Answer::Code(E::DigestMismatch)),
    row(0x8020_0054, "MAXDOWNLOAD_TIMEOUT", "it has transferred for too long", Answer::Code(E::TransferTimeOver)),
    row(0x8020_0056, "TOKEN_REQUIRED", "a second identity is gone", Answer::Never("a job of eddy has one identity")),
    row(0x8020_0057, "UNKNOWN_PROPERTY_ID", "no such property", Answer::Code(E::UnknownSetting)),
    row(0x8020_0058, "READ_ONLY_PROPERTY", "the property cannot be set", Answer::Code(E::UnknownSetting)),
    row(0x8020_0059, "BLOCKED_BY_COST_TRANSFER_POLICY", "the network costs money", Answer::Never("this version of eddy does not know what a network costs")),
    row(0x8020_0060, "PROPERTY_SUPPORTED_FOR_DOWNLOAD_JOBS_ONLY", "the wrong type of job", Answer::Never("all jobs of this version download")),
    row(0x8020_0061, "READ_ONLY_PROPERTY_AFTER_ADDFILE", "set too late", Answer::Never("eddy's properties can be set as long as the job lives")),
    row(0x8020_0062, "READ_ONLY_PROPERTY_AFTER_RESUME", "set too late", Answer::Never("eddy's properties can be set as long as the job lives")),
    row(0x8020_0063, "MAX_DOWNLOAD_SIZE_INVALID_VALUE", "the byte cap is no number", Answer::Code(E::BadAmount)),
    row(0x8020_0064, "MAX_DOWNLOAD_SIZE_LIMIT_REACHED", "the byte cap is reached", Answer::Code(E::OriginProtocol)),
    row(0x8020_0065, "STANDBY_MODE", "the machine is in standby", Answer::Never("eddy goes on when the machine does")),
    row(0x8020_0066, "USE_STORED_CREDENTIALS_NOT_SUPPORTED", "stored credentials are for proxies", Answer::Code(E::BadCredentials)),
    row(0x8020_0067, "BLOCKED_BY_BATTERY_POLICY", "the machine runs on its battery", Answer::Never("this version of eddy does not look at the battery")),
    row(0x8020_0068, "BLOCKED_BY_BATTERY_SAVER", "the battery is being saved", Answer::Never("this version of eddy does not look at the battery")),
    row(0x8020_0069, "WATCHDOG_TIMEOUT", "an inner step took too long", Answer::Code(E::TooSlow)),
    row(0x8020_006a, "APP_PACKAGE_NOT_FOUND", "the owner's app is gone", Answer::Never("jobs belong to users, not to apps")),
    row(0x8020_006b, "APP_PACKAGE_SCENARIO_NOT_SUPPORTED", "not for apps", Answer::Never("jobs belong to users, not to apps")),
    row(0x8020_006c, "DATABASE_CORRUPT", "the queue is damaged", Answer::Code(E::StoreCorrupt)),
    row(0x8020_006d, "RANDOM_ACCESS_NOT_SUPPORTED", "no random access here", Answer::Code(E::NotOnDemand)),
    row(0x8020_006e, "BLOCKED_BY_BACKGROUND_ACCESS_POLICY", "a throttle of the system", Answer::Never("eddy has no hidden conditions; `eddy why` names what a job waits for")),
    row(0x8020_006f, "BLOCKED_BY_GAME_MODE", "a game runs", Answer::Never("eddy has no hidden conditions; `eddy why` names what a job waits for")),
    row(0x8020_0070, "BLOCKED_BY_SYSTEM_POLICY", "a throttle of the system", Answer::Never("eddy has no hidden conditions; `eddy why` names what a job waits for")),
    row(0x8020_0071, "NOT_SUPPORTED_WITH_CUSTOM_HTTP_METHOD", "not with another method than GET", Answer::Code(E::BadMethod)),
    row(0x8020_0072, "UNSUPPORTED_JOB_CONFIGURATION", "properties that do not go together", Answer::Code(E::BadRequest)),
    row(0x8020_0073, "REMOTE_FILE_CHANGED", "the file at the server changed", Answer::Code(E::OriginChanging)),
    row(0x8020_0074, "SERVER_CERT_VALIDATION_INTERFACE_REQUIRED", "whoever checks the certificate is gone", Answer::Never("eddy checks certificates itself")),
    row(0x8020_0075, "READ_ONLY_WHEN_JOB_ACTIVE", "pause the job first", Answer::Never("eddy's properties can be set as long as the job lives")),
    row(0x8020_0076, "ERROR_CONTEXT_SERVER_CERTIFICATE_CALLBACK", "context of an error: a certificate callback", Answer::Never("eddy checks certificates itself")),
    row(0x0020_0006, "S_ERROR_CONTEXT_NONE", "no error", Answer::Never("it tells of success")),
    row(0x0020_0017, "S_PARTIAL_COMPLETE", "completed with a part of the files", Answer::Never("`eddy job finish` delivers what is whole; the answer lists each file's state")),
    row(0x0020_001a, "S_UNABLE_TO_DELETE_FILES", "temporary files are left", Answer::Never("eddy removes what was left at the next start")),
    row(0x0020_002a, "S_PROXY_CHANGED", "the proxy changed", Answer::Never("it tells of success")),
    row(0x0020_0055, "S_OVERRIDDEN_BY_POLICY", "an administrator's policy holds instead", Answer::Never("it tells of success")),
    row(0x8007_2f0c, "ERROR_INTERNET_CLIENT_AUTH_CERT_NEEDED", "the server wants a certificate of yours", Answer::Code(E::TlsClientCertificate)),
    row(0x8007_2f9a, "ERROR_INTERNET_CLIENT_AUTH_CERT_NEEDED_PRIVATE", "the certificate's key cannot be read", Answer::Code(E::TlsClientCertificate)),
    row(0x8007_2ee7, "ERROR_INTERNET_NAME_NOT_RESOLVED", "the name cannot be resolved", Answer::Code(E::NameNotResolved)),
    row(0x8007_2f78, "ERROR_HTTP_INVALID_SERVER_RESPONSE", "the answer breaks the rules", Answer::Code(E::OriginProtocol)),
    row(0x8007_0005, "E_ACCESSDENIED", "access is denied", Answer::Code(E::NotPermitted)),
    row(0x8007_04dd, "ERROR_NOT_LOGGED_ON", "the owner is not logged on", Answer::Never("a job that wants its owner logged on (--while-logged-on) waits, and eddy why says so")),
    row(0x8007_0057, "E_INVALIDARG", "a wrong argument; of a waiting job: a bad proxy name or empty credentials", Answer::Code(E::BadRequest)),
    row(0x8007_03eb, "ERROR_CAN_NOT_COMPLETE", "no default gateway", Answer::Code(E::HostUnreachable)),
    row(0x8007_0422, "ERROR_SERVICE_DISABLED", "the service is disabled", Answer::Code(E::DaemonUnreachable)),
    row(0x8007_0424, "ERROR_SERVICE_DOES_NOT_EXIST", "there is no such service", Answer::Code(E::DaemonUnreachable)),
    row(0x8007_042c, "ERROR_SERVICE_DEPENDENCY_FAIL", "what the service needs did not start", Answer::Code(E::DaemonUnreachable)),
    row(0x8007_043b, "ERROR_SERVICE_NOT_IN_EXE", "the service is not in its program", Answer::Code(E::DaemonUnreachable)),
    row(0x8007_0002, "ERROR_FILE_NOT_FOUND", "no such file", Answer::Code(E::DestinationNoParent)),
    row(0x8007_0003, "ERROR_PATH_NOT_FOUND", "no such directory", Answer::Code(E::DestinationNoParent)),
    row(0x8019_4000, "BITS_MC_JOB_CANCELLED", "log: an administrator cancelled a job", Answer::Code(E::JobCancelled)),
    row(0x8019_4001, "BITS_MC_FILE_DELETION_FAILED", "log: temporary files could not be deleted", Answer::Never("eddy removes what was left at the next start")),
    row(0x8019_4002, "BITS_MC_FILE_DELETION_FAILED_MORE", "log: and more of them", Answer::Never("eddy removes what was left at the next start")),
    row(0x8019_4003, "BITS_MC_JOB_PROPERTY_CHANGE", "log: an administrator changed a property", Answer::Never("`eddy events` tells of it: `changed`")),
    row(0x8019_4004, "BITS_MC_JOB_TAKE_OWNERSHIP", "log: an administrator took a job over", Answer::Never("`eddy events` tells of it: `taken`")),
    row(0x8019_4005, "BITS_MC_JOB_SCAVENGED", "log: a job was forgotten for too long", Answer::Code(E::JobCancelled)),
    row(0x8019_4006, "BITS_MC_JOB_NOTIFICATION_FAILURE", "log: a notification failed", Answer::Never("eddy calls nobody back; programs follow its events")),
    row(0x8019_4007, "BITS_MC_STATE_FILE_CORRUPT", "log: the job list was damaged and cleared", Answer::Code(E::StoreCorrupt)),
    row(0x8019_4008, "BITS_MC_FAILED_TO_START", "log: the service did not start", Answer::Code(E::DaemonUnreachable)),
    row(0x8019_4009, "BITS_MC_FATAL_IGD_ERROR", "log: the gateway device failed", Answer::Never("eddy does not ask gateways")),
    row(0x8019_400a, "BITS_MC_PEERCACHING_PORT", "name of a firewall port", Answer::Never("`eddy status` names the address at which peers are served")),
    row(0x8019_400b, "BITS_MC_WSD_PORT", "name of a firewall port", Answer::Never("`eddy status` names the address at which peers are served")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_result_of_bits_is_there_once() {
        let numbers: HashSet<u32> = TABLE.iter().map(|row| row.number).collect();
        assert_eq!(numbers.len(), TABLE.len());
        // All 0x802000nn that the public headers have: the gaps are codes that were never given, and successes.
        let gaps = [0x06, 0x17, 0x1a, 0x2a, 0x55];
        let given =
            (0x01..=0x2e).chain(0x3e..=0x49).chain(0x50..=0x59).chain(0x60..=0x76).filter(|low| !gaps.contains(low));
        for low in given {
            assert!(numbers.contains(&(0x8020_0000 + low)), "0x802000{low:02x}");
        }
        assert_eq!(numbers.iter().filter(|number| **number >> 8 == 0x80_1940).count(), 12, "the messages of the log");
    }

    #[test]
    fn a_code_is_found_by_number_and_by_name() {
        for text in ["0x80200013", "80200013", "BG_E_INSUFFICIENT_RANGE_SUPPORT", "insufficient-range-support"] {
            assert_eq!(BitsCode::lookup(text).map(|row| row.number), Some(0x8020_0013), "{text}");
        }
        assert_eq!(BitsCode::lookup("0x80190194").map(|row| row.eddy), Some(Answer::Code(E::HttpNotFound)));
        assert!(matches!(BitsCode::lookup("0x801900c8").map(|row| row.eddy), Some(Answer::Never(_))));
        for text in ["", "0x8020ffff", "ACE", "0x80190fff"] {
            assert_eq!(BitsCode::lookup(text), None, "{text}");
        }
    }

    #[test]
    fn what_eddy_says_refers_back_where_it_has_one_counterpart() {
        for error in E::ALL {
            let Some(bits) = error.entry().bits else { continue };
            let found = BitsCode::lookup(bits);
            assert!(found.is_some() || bits.starts_with("0x8007"), "{}: {bits}", error.entry().code);
        }
    }
}
