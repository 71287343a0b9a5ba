//! The rows of the catalogue.

use super::{Class, Entry, Exit, Retry};

/// Makes the enum, the list of all errors and the row of each from one table, so that none can be forgotten.
macro_rules! catalogue {
    ($($variant:ident: $code:literal, $class:ident, $exit:ident, $retry:ident, $status:literal, $bits:expr;
        $sentence:literal; $remedy:literal;)*) => {
        /// An error that a user can meet.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = $sentence] $variant,)*
        }

        impl ErrorCode {
            /// Every error, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its row.
            #[must_use]
            pub const fn entry(self) -> &'static Entry {
                match self {$(
                    Self::$variant => &Entry {
                        code: $code,
                        class: Class::$class,
                        exit: Exit::$exit,
                        retry: Retry::$retry,
                        status: $status,
                        bits: $bits,
                        sentence: $sentence,
                        remedy: $remedy,
                    },
                )*}
            }
        }
    };
}

catalogue! {
    // What was asked for.
    BadUrl: "bad-url", User, Usage, Useless, 400, None;
        "the URL cannot be read";
        "Write it as https://host/path, in quotes if it contains characters that the shell takes for itself.";
    UnknownScheme: "unknown-scheme", User, Usage, Useless, 400, Some("0x80200005");
        "eddy cannot fetch from this kind of URL";
        "Use an http or https URL.";
    BadDigest: "bad-digest", User, Usage, Useless, 400, Some("0x80200041");
        "the digest cannot be read";
        "Write it as algorithm:hex, for example sha256: and 64 hex digits; the algorithms are blake3, sha512, \
        sha256, sha1 and md5.";
    BadDestination: "bad-destination", User, Usage, Useless, 400, None;
        "the destination is not a path that a file can have";
        "Name an absolute path of a file, without `..`; in a shell, use -o.";
    DestinationTwice: "destination-twice", User, Usage, Useless, 400, None;
        "two files of the job have the same destination";
        "Give every file its own destination.";
    EmptyJob: "empty-job", User, Usage, Useless, 400, Some("0x80200003");
        "the job has no files";
        "Name at least one URL.";
    TooManyFiles: "too-many-files", User, Usage, Useless, 400, Some("0x80200051");
        "the job has too many files";
        "Make several jobs of at most 10,000 files.";
    BadRange: "bad-range", User, Usage, Useless, 400, None;
        "the range cannot be read";
        "Write ranges as 0-1023,4096-: first and last byte, counted from 0; without a last byte up to the end of the file.";
    RangesOverlap: "ranges-overlap", User, Usage, Useless, 400, Some("0x8020002c");
        "two ranges of the file have bytes in common";
        "Name every byte once at most.";
    TooManyRanges: "too-many-ranges", User, Usage, Useless, 400, Some("0x80200052");
        "the file has too many ranges";
        "Name at most 500 ranges of a file; join those that lie side by side.";
    RangeOutside: "range-outside", User, NotFound, Useless, 416, Some("0x8020002b");
        "the file does not have the range that is wanted of it";
        "Ask for what the file has: the detail names its length.";
    TooLong: "too-long", User, Usage, Useless, 400, Some("0x80200021");
        "a text is longer than its limit";
        "Shorten it; the detail names the limit.";
    BadAmount: "bad-amount", User, Usage, Useless, 400, None;
        "the size or the age cannot be read";
        "Write the unit behind the number: 500MiB, 2GB, 20%; 12h, 30d.";
    UnknownSetting: "unknown-setting", User, Usage, Useless, 400, None;
        "there is no such setting";
        "Write KEY=VALUE; the detail names the keys.";
    HookUnknown: "hook-unknown", User, Usage, Useless, 400, None;
        "the administrator has registered no hook of this name";
        "Name one of the [hooks] in the node's eddy.toml; the detail names them.";
    ClientCertificate: "client-certificate", User, Usage, Useless, 400, None;
        "the client certificate cannot be shown to origins";
        "Name one of the [origin.certificates] in the node's eddy.toml, whose files the node can read; the detail says more.";
    NotConfirmed: "not-confirmed", User, Usage, Useless, 400, None;
        "nothing was removed, because nobody confirmed it";
        "Look at what would go with --dry-run, then give the same command with --yes.";
    BadUsage: "bad-usage", User, Usage, Useless, 400, None;
        "the command cannot be understood";
        "See `eddy help`.";

    // The API.
    BadRequest: "bad-request", User, Usage, Useless, 400, None;
        "the request to the control API cannot be read";
        "Compare it with /v1/openapi.json; the detail names the place.";
    NoSuchEndpoint: "no-such-endpoint", User, NotFound, Useless, 404, None;
        "the control API has no such path";
        "See /v1/openapi.json for the paths that there are.";
    MethodNotAllowed: "method-not-allowed", User, Usage, Useless, 405, None;
        "the control API does not take this method on this path";
        "See /v1/openapi.json for the methods that there are.";
    RequestTooLarge: "request-too-large", User, Usage, Useless, 413, None;
        "the request to the control API is too large";
        "Make several jobs with fewer files each.";
    UnsupportedMediaType: "unsupported-media-type", User, Usage, Useless, 415, None;
        "the control API takes JSON only";
        "Send the header content-type: application/json.";
    NotPermitted: "not-permitted", User, Daemon, Useless, 403, Some("0x80070005");
        "the node does not do that for you";
        "Ask as the user whose node it is, or as its administrator; or start your own with another --home.";
    NotTheOwner: "not-the-owner", User, Daemon, Useless, 403, None;
        "what a job fetches, and what it shows to origins, is changed by its owner alone";
        "Take it first: `eddy job take ID` makes it yours, without the secrets of its last owner.";
    TooSlow: "too-slow", Eddy, Daemon, Helps, 503, Some("0x80200069");
        "the node did not answer in time";
        "Try again; if it stays, look at the log of the daemon.";
    Busy: "busy", Eddy, Daemon, Helps, 503, None;
        "the node has too much to do to take the call";
        "Try again in a moment.";
    ShuttingDown: "shutting-down", User, Daemon, Helps, 503, None;
        "the node is stopping";
        "Try again when it runs again; its jobs go on from where they were.";
    DaemonUnreachable: "daemon-unreachable", User, Daemon, Useless, 503, None;
        "no node answers on this machine";
        "Start one with `eddy daemon`, or name its home directory with --home.";
    DaemonIncompatible: "daemon-incompatible", User, Daemon, Useless, 502, None;
        "the node on this machine answers in a way that this eddy does not understand";
        "Use the same version of eddy for the command and for the daemon.";
    SocketUnusable: "socket-unusable", Disk, Daemon, Useless, 500, None;
        "the control socket cannot be made";
        "Make sure that its directory is yours, has mode 0700 and a short path, and that no other node uses it.";
    JobNotFound: "job-not-found", User, NotFound, Useless, 404, Some("0x80200001");
        "there is no such job";
        "List the jobs with `eddy job ls`; jobs that have ended are not kept.";
    WrongState: "wrong-state", User, State, Useless, 409, Some("0x80200002");
        "the job cannot do that in its state";
        "See `eddy job show ID` for its state.";
    FileNotInJob: "file-not-in-job", User, NotFound, Useless, 404, Some("0x80200029");
        "the job has no such file, or it stands at its destination already";
        "See `eddy job show ID` for its files; they are counted from 0.";
    NotOnDemand: "not-on-demand", User, State, Useless, 409, Some("0x8020006d");
        "the file is not one of which ranges are asked for while its job is there";
        "Make a job of it with --on-demand; of other files ranges are named when they are added (--range).";
    BadHeader: "bad-header", User, Usage, Useless, 400, None;
        "the header field cannot be sent";
        "Write NAME: VALUE in visible characters; fields that the transfer itself needs, such as Range, cannot be set.";
    BadMethod: "bad-method", User, Usage, Useless, 400, Some("0x80200071");
        "the job cannot ask with this method, or not so";
        "Name a method that brings a file, such as POST, before the job first runs; it then runs in the foreground and without peers.";
    AskedOnce: "asked-once", User, State, Useless, 409, None;
        "the job was stopped while it asked with a method that may have an effect";
        "Look whether it had; `eddy job resume ID` asks again, from the start.";
    BadCredentials: "bad-credentials", User, Usage, Useless, 400, Some("0x80200040");
        "the credentials cannot be used";
        "Give a user name of at most 300 characters and a password, or a token; the detail says what is wrong.";
    BadProxy: "bad-proxy", User, Usage, Useless, 400, Some("0x8020003f");
        "the proxy cannot be used";
        "Write it as http://host:port or socks5://host:port, or say `direct` or `system`.";
    TooManyJobs: "too-many-jobs", User, State, Useless, 429, Some("0x80200049");
        "there are as many jobs as the administrator allows";
        "Finish or cancel some; the detail names the limit, `eddy.toml` sets it ([jobs]).";
    KeyReused: "idempotency-key-reused", User, State, Useless, 422, None;
        "the idempotency key was used for another request";
        "Use a new key for each request, and the same one only to repeat it.";
    EntityNotFound: "entity-not-found", User, NotFound, Useless, 404, Some("0x80200042");
        "the cache has no such entity";
        "List what it holds with `eddy cache ls`.";
    AmbiguousName: "ambiguous-name", User, Usage, Useless, 409, None;
        "the name fits more than one";
        "Write more of its digits; the detail lists what it fits.";
    EntityPinned: "entity-pinned", User, State, Useless, 409, None;
        "this entity is pinned";
        "Unpin it with `eddy cache unpin ID`, or say --also-pinned.";
    EntityInUse: "entity-in-use", User, State, Helps, 409, Some("0x80200048");
        "a job or a peer uses this entity";
        "Wait until the job has ended, or cancel it.";

    // The way to the origin.
    NameNotResolved: "name-not-resolved", Network, Network, Helps, 502, Some("0x80072ee7");
        "the name of the host cannot be resolved";
        "Check the spelling of the host and the DNS of this machine.";
    ConnectionRefused: "connection-refused", Network, Network, Helps, 502, Some("0x8020002d");
        "nothing listens at the host's port";
        "Check the port in the URL; if it is right, the server is down.";
    HostUnreachable: "host-unreachable", Network, Network, Helps, 502, Some("0x80200010");
        "there is no way to the host";
        "Check that this machine is on a network that reaches it, and whether a proxy has to be set (HTTPS_PROXY).";
    NetworkLost: "network-lost", Network, Network, Helps, 502, Some("0x80200010");
        "this machine is on no network any more";
        "Nothing has to be done: the job goes on as soon as a network comes up.";
    OriginTimeout: "origin-timeout", Network, Network, Helps, 504, Some("0x80200024");
        "the origin does not answer in time";
        "Nothing has to be done: the job tries again by itself and keeps what it has.";
    ConnectionLost: "connection-lost", Network, Network, Helps, 502, Some("0x8020002e");
        "the connection to the origin broke off";
        "Nothing has to be done: the job goes on from what it has.";
    ProxyFailed: "proxy-failed", Network, Network, Helps, 502, Some("0x8020003f");
        "the proxy does not let the request through";
        "Check the proxy of the job, or else HTTP_PROXY, HTTPS_PROXY and NO_PROXY, and the credentials in them.";

    TransferTimeOver: "transfer-time-over", User, Network, Useless, 504, Some("0x80200054");
        "the job has transferred for as long as it may";
        "Resume it to give it the whole time again, or allow more with `eddy job set ID max-transfer-time=...`.";

    // TLS.
    TlsUntrusted: "tls-untrusted", Origin, Tls, Useless, 502, None;
        "the origin's certificate was not issued by anybody whom this machine trusts";
        "If the issuer is your own, add its certificate to the trusted ones of the system.";
    TlsExpired: "tls-expired", Origin, Tls, Useless, 502, None;
        "the origin's certificate is not valid at this time";
        "Check the clock of this machine; if it is right, the server's owner has to renew the certificate.";
    TlsWrongName: "tls-wrong-name", Origin, Tls, Useless, 502, None;
        "the origin's certificate is for another name";
        "Use the name that the certificate is for; a wrong name may be somebody in between.";
    TlsClientCertificate: "tls-client-certificate", User, Tls, Useless, 502, Some("0x80072f0c");
        "the origin wants a certificate of yours";
        "Register one as administrator ([origin.certificates] in eddy.toml) and name it: eddy job set ID client-certificate=NAME.";
    TlsFailed: "tls-failed", Origin, Tls, Helps, 502, None;
        "no secure connection to the origin could be agreed";
        "Check that the port speaks TLS 1.2 or newer; the detail names the alert.";

    // What the origin answers.
    HttpRedirect: "http-redirect", Origin, Origin, Useless, 502, Some("0x8019012c");
        "the origin's redirect cannot be followed";
        "Open the URL in a browser and use the address where it ends.";
    HttpUnauthorized: "http-unauthorized", User, Origin, Useless, 502, Some("0x80190191");
        "the origin wants credentials, or refuses those it got";
        "Check the credentials; a signed URL may have run out.";
    HttpForbidden: "http-forbidden", Origin, Origin, Useless, 502, Some("0x80190193");
        "the origin does not give this to you";
        "Check that you may have it; a signed URL may have run out.";
    HttpNotFound: "http-not-found", Origin, Origin, Useless, 502, Some("0x80190194");
        "the origin has nothing at this URL";
        "Check the URL; it may have moved.";
    HttpBusy: "http-busy", Origin, Origin, Helps, 502, Some("0x80190198");
        "the origin cannot answer now";
        "Nothing has to be done: the job tries again by itself.";
    HttpRateLimited: "http-rate-limited", Origin, Origin, Helps, 502, None;
        "the origin asks for fewer requests";
        "Nothing has to be done: the job waits as long as the origin asks, then goes on.";
    HttpRefused: "http-refused", Origin, Origin, Useless, 502, Some("0x80190190");
        "the origin refuses the request";
        "Check the URL; the detail names the status.";
    HttpUnsupported: "http-unsupported", Origin, Origin, Useless, 502, Some("0x801901f5");
        "the origin cannot do what is asked";
        "Use another server for this file; the detail names the status.";
    HttpServerError: "http-server-error", Origin, Origin, Helps, 502, Some("0x801901f4");
        "the origin has an error of its own";
        "Nothing has to be done: the job tries again by itself.";
    OriginProtocol: "origin-protocol", Origin, Origin, Helps, 502, Some("0x8020001b");
        "the origin's answer breaks the rules of HTTP";
        "Try another server for this file, or without the proxy in between; the detail names the rule.";
    OriginChanging: "origin-changing", Origin, Integrity, Helps, 502, Some("0x80200073");
        "the file at the origin changes faster than it can be fetched";
        "Wait until it stays the same, or ask for a fixed version of it.";
    LengthMismatch: "length-mismatch", Origin, Integrity, Helps, 502, None;
        "the origin sent more or fewer bytes than it named";
        "Try again; if it stays, the server or a proxy in between is broken.";
    DigestMismatch: "digest-mismatch", Origin, Integrity, Useless, 502, Some("0x80200053");
        "the file does not have the digest that it should have";
        "Check the digest; if it is right, this server has another or a damaged file. Nothing was put at the \
        destination.";

    // The destination.
    DiskFull: "disk-full", Disk, Destination, Helps, 507, Some("0x80070070");
        "the disk is full";
        "Make room: the daemon's job goes on by itself a few seconds later; without a daemon, give the same command again. \
        Nothing is lost.";
    DiskReadOnly: "disk-read-only", Disk, Destination, Helps, 507, Some("0x80070013");
        "the file system is mounted read-only";
        "If nobody meant it, look at the system's log: the kernel does this to a damaged file system. Mounted read-write \
        again, the job goes on by itself.";
    TooManyOpenFiles: "too-many-open-files", Disk, Internal, Helps, 503, Some("0x80070004");
        "the node has no file descriptor left";
        "Nothing has to be done: the job goes on by itself when others have ended. If it happens often, raise the limit of \
        open files (ulimit -n, LimitNOFILE).";
    DestinationExists: "destination-exists", User, Destination, Useless, 409, Some("0x80070050");
        "a file already stands at the destination";
        "Choose another path with -o, or allow it to be replaced with --overwrite.";
    DestinationIsDirectory: "destination-is-directory", User, Destination, Useless, 409, None;
        "the destination is a directory";
        "Name a file in it.";
    DestinationNoParent: "destination-no-parent", User, Destination, Useless, 409, Some("0x80070003");
        "the directory of the destination does not exist";
        "Make it first, or choose another path with -o.";
    DestinationNotWritable: "destination-not-writable", Disk, Destination, Helps, 403, Some("0x80070005");
        "the destination cannot be written";
        "Give the node's user the right to write in its directory: the job goes on by itself a few seconds later.";
    DestinationUnseen: "destination-unseen", User, Destination, Useless, 500, None;
        "the node says that the file is in its place, and here it is not";
        "The node sees another folder under that name, as a service with PrivateTmp= does, or somebody has taken the file away: name \
        a folder that both see, or look at the service's unit.";
    DestinationUnsafe: "destination-unsafe", User, Destination, Useless, 403, None;
        "the destination leads through a symbolic link or a special file";
        "Name the real path.";
    StagedLost: "staged-lost", Disk, Destination, Helps, 409, None;
        "the file was whole and is gone before it could appear at its destination";
        "Nothing, mostly: the job makes it anew from the cache. If it comes again, see who removes files beside the destination, then \
        `eddy job finish ID`.";
    DiskFailed: "disk-failed", Disk, Destination, Helps, 500, Some("0x8020000d");
        "the disk failed";
        "Look at the system's log; if it names the disk, save what is on it. The job tries again by itself.";

    // The store.
    CacheTooSmall: "cache-too-small", User, Store, Useless, 507, None;
        "the cache has no room for this file";
        "Raise its quota, or make room on its disk; `eddy cache info` shows both.";
    StoreCorrupt: "store-corrupt", Disk, Store, Useless, 500, Some("0x8020006c");
        "the index of the store is damaged";
        "Run `eddy doctor --fix`, which makes it again from the files; what was delivered is not touched.";
    StoreInUse: "store-in-use", User, Store, Helps, 409, None;
        "another eddy uses this store";
        "Use that one, or give this one another --home.";
    StoreNewer: "store-newer", User, Store, Useless, 409, None;
        "the store was written by a newer eddy";
        "Use that version or a newer one, or another --home.";
    StoreUnusable: "store-unusable", Disk, Store, Helps, 500, None;
        "the store cannot be read or written";
        "Check the rights and the room in its directory; the detail names the file. Mended, all goes on by itself.";
    BlockCorrupt: "block-corrupt", Disk, Store, Helps, 500, None;
        "a stored block is not what was written";
        "Nothing has to be done: it was set aside and is fetched again. If it happens often, the disk fails.";
    ContentCorrupt: "content-corrupt", Disk, Integrity, Useless, 500, None;
        "stored bytes are not what was written";
        "Nothing has to be done: they were set aside and are fetched again when somebody asks for them. If it happens \
        often, the disk fails.";
    HomeForeign: "home-foreign", User, Store, Useless, 409, None;
        "the home belongs to another user, whose node could not use what root makes there";
        "Give the command as that user, or name another --home.";
    StoreUnsound: "store-unsound", Disk, Store, Useless, 500, None;
        "something is not in order";
        "Do what is said beside each finding; `eddy doctor --fix` mends the store itself.";

    // Packages.
    PackageUnreadable: "package-unreadable", User, Usage, Useless, 400, None;
        "the package cannot be read";
        "Check the path, and the rights on it.";
    NothingPacked: "nothing-packed", User, Store, Useless, 409, None;
        "nothing of what was named can be packed";
        "The detail says why; private entries go into a package only with --also-private.";
    NotAPackage: "not-a-package", User, Usage, Useless, 400, None;
        "the file is no package of eddy";
        "Make one with `eddy cache export FILE`, by the same or an older version.";
    PackageDamaged: "package-damaged", User, Integrity, Useless, 400, None;
        "the package is damaged or was cut short";
        "Carry it over once more; nothing of it was kept but what was checked.";
    PackageUntrusted: "package-untrusted", User, Integrity, Useless, 403, None;
        "nobody who is trusted here signed the package";
        "Members of this node's group are trusted while their certificate holds. For another signer compare its name, which \
        `eddy status` shows there, and say --signer NAME.";

    // Peers.
    GroupSecretInvalid: "group-secret-invalid", User, Group, Useless, 400, None;
        "the text is no group secret";
        "Copy the whole line that `eddy group init` or `eddy group show --secret` printed; one wrong character is \
        enough.";
    GroupSecretExposed: "group-secret-exposed", User, Group, Useless, 400, None;
        "a group secret is no argument: every user of this machine can read it in the list of processes";
        "Give it by standard input (`eddy group join -`) or name a file that holds it. Whoever may have seen this one is in \
        the group: make another with `eddy group init --force`, and delete the line from the shell's history.";
    GroupSecretUnreadable: "group-secret-unreadable", User, Group, Useless, 400, None;
        "the file that should hold the secret cannot be read";
        "Check the path, and the rights on it; - stands for standard input.";
    GroupMissing: "group-missing", User, Group, Useless, 409, Some("0x80200047");
        "this node is in no group";
        "Make one with `eddy group init`, or join one with `eddy group join FILE`.";
    GroupExists: "group-exists", User, Group, Useless, 409, None;
        "this node is in a group already";
        "Leave it first with `eddy group leave`.";
    GroupUnusable: "group-unusable", Disk, Group, Useless, 500, None;
        "the group's file or the node's key cannot be read or written";
        "Check that it is yours and has mode 0600; the detail names the file.";
    JoinCodeInvalid: "join-code-invalid", User, Group, Useless, 400, None;
        "the text is no join code";
        "Copy the whole line that `eddy group invite` printed; one wrong character is enough.";
    JoinRefused: "join-refused", User, Group, Useless, 403, None;
        "the group does not let this node in";
        "Ask its administrator for a new code (`eddy group invite`). A node that was removed needs a new key as well: \
        delete node.key in its home.";
    IssuerUnreachable: "issuer-unreachable", Network, Group, Helps, 502, None;
        "no issuer of the code's group lets anybody in where it was looked for";
        "Check that a daemon runs on the machine that made the code and that UDP reaches it; or name its address: \
        eddy group join CODE HOST:PORT.";
    NotAnIssuer: "not-an-issuer", User, Group, Useless, 403, None;
        "this node has not the key for that";
        "Do it on the node where `eddy group init --ca` was run; members can also be invited where the role is issuer.";
    GroupWithoutAuthority: "group-without-authority", User, Group, Useless, 409, None;
        "this group has no invitations and no removals";
        "Make one that has with `eddy group init --ca`. In a group of one secret a new secret shuts somebody out; with \
        certificates from files it is their issuer's to do.";
    InviteNotFound: "invite-not-found", User, NotFound, Useless, 404, None;
        "there is no such invitation";
        "List them with `eddy group invites ls`.";
    EvidenceInvalid: "evidence-invalid", User, Integrity, Useless, 400, None;
        "the file is no evidence that holds";
        "It was changed, or belongs to another group: ask whoever gave it for the file itself, and check it on a member of that \
        group. Nothing follows from it against anybody.";
    MemberNotFound: "member-not-found", User, NotFound, Useless, 404, None;
        "no such member was certified here";
        "List them with `eddy group ls`, or give the whole node id as `eddy peers ls` shows it.";
    DenyListOutdated: "deny-list-outdated", Disk, Group, Useless, 409, None;
        "a newer deny-list was on this machine: one made from this would take removals back";
        "Start the node and let it meet a member, which brings the newer list; then remove again.";
    RootWouldBeLost: "root-would-be-lost", User, Group, Useless, 409, None;
        "the group's root key is on this node, and leaving would delete it";
        "Keep a copy of `group.root` first; then leave with --force.";
    PeerProtocol: "peer-protocol", Peer, Group, Helps, 502, Some("0x80200022");
        "a peer broke the protocol";
        "Nothing has to be done: another source is used. `eddy peers ls` names the peer.";
    PeerWrongBytes: "peer-wrong-bytes", Peer, Group, Helps, 502, None;
        "a peer gave wrong bytes";
        "Nothing has to be done: they were thrown away and another source is used. `eddy peers ls` names the peer.";

    // eddy.
    ConfigNotWritable: "config-not-writable", Disk, Config, Useless, 500, None;
        "the configuration cannot be written";
        "Check the rights on the file and its directory; nothing was changed.";
    BadConfig: "bad-config", User, Config, Useless, 400, None;
        "the configuration cannot be used";
        "The detail names the key or the line.";
    JobPaused: "job-paused", User, Unfinished, Useless, 409, None;
        "the job was paused";
        "Go on with `eddy job resume ID`.";
    JobCancelled: "job-cancelled", User, Unfinished, Useless, 409, None;
        "the job was cancelled";
        "Ask for the file again if you still want it.";
    Interrupted: "interrupted", User, Interrupted, Helps, 499, None;
        "interrupted";
        "The same command goes on from what is here.";
    Internal: "internal", Eddy, Internal, Helps, 500, None;
        "an error in eddy itself";
        "Please report it, with the detail and the log.";
}
