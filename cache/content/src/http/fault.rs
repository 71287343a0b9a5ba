//! The reasons for which an answer is turned down: it is of another version, or it breaks HTTP.

/// By what a change of version was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ChangeReason {
    /// 412 to our precondition.
    #[error("the server says that the file has changed (412)")]
    PreconditionFailed,
    /// Another ETag than the known one, or a weak one where it was strong.
    #[error("the ETag is another one")]
    Etag,
    /// Another Last-Modified than the known one.
    #[error("Last-Modified is another one")]
    LastModified,
    /// A mark of another kind, or none, where the known version had one.
    #[error("the version mark is gone or of another kind")]
    ValidatorKind,
    /// Another complete length, where no equal ETag contradicts it.
    #[error("the length is another one")]
    Length,
    /// The bytes come in another content coding than the known ones.
    #[error("the content coding is another one")]
    ContentCoding,
}

/// How an answer breaks the rules. Always the origin's fault (or a proxy's); nothing of the body may be used, and the
/// connection is not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ProtocolFault {
    /// The head exceeds the bounds of T-22.
    #[error("the answer's head is too large")]
    HeadTooLarge,
    /// An interim status as the final answer, or no status code at all.
    #[error("the server sent a status that ends no request")]
    NotFinal,
    /// Several differing Content-Length values.
    #[error("the server sent several lengths that differ")]
    ConflictingLengths,
    /// A Content-Length that is no number or above 2^63 - 1.
    #[error("the server sent a length that is no length")]
    MalformedLength,
    /// Content-Length together with Transfer-Encoding.
    #[error("the server sent both a length and a transfer coding")]
    LengthAndTransferCoding,
    /// A transfer coding other than `chunked`, or any of it in HTTP/1.0 (R-32, T-38).
    #[error("the server used a transfer coding that nobody asked for")]
    TransferCoding,
    /// 206 though no range was asked for.
    #[error("the server sent a partial answer to a question for the whole")]
    UnaskedPartial,
    /// 304 though nothing conditional was asked.
    #[error("the server says `not modified` to an unconditional question")]
    UnaskedNotModified,
    /// 416 though no range was asked for.
    #[error("the server refuses a range that nobody asked for")]
    UnaskedUnsatisfiable,
    /// 416 for a range that lies inside the length that the same answer names.
    #[error("the server refuses a range that lies inside the file")]
    ContradictoryUnsatisfiable,
    /// multipart/byteranges as the answer to one range.
    #[error("the server sent several parts for one range")]
    Multipart,
    /// 206 without Content-Range.
    #[error("the partial answer does not say which part it is")]
    MissingContentRange,
    /// 206 with more than one Content-Range.
    #[error("the partial answer names several parts")]
    SeveralContentRanges,
    /// A Content-Range outside the grammar or out of order.
    #[error("the partial answer names its part in a malformed way")]
    MalformedContentRange,
    /// The part starts elsewhere than asked.
    #[error("the partial answer starts elsewhere than asked")]
    WrongStart,
    /// The part ends later than asked.
    #[error("the partial answer reaches further than asked")]
    BeyondAsked,
    /// `*` for the complete length, which was known.
    #[error("the partial answer hides the complete length")]
    UnknownTotal,
    /// The same strong ETag with another complete length: the origin is not to be trusted with this version.
    #[error("the server names another length for the same version")]
    SameVersionOtherLength,
    /// A 206 without a validator that no If-Range or If-Match of ours vouches for.
    #[error("the partial answer does not say of which version it is")]
    UnvalidatedPartial,
    /// A part from the middle though no strong validator is known to join it under.
    #[error("there is no version mark under which a part could be joined")]
    NothingToJoinUnder,
    /// Content-Length differs from the length of the part.
    #[error("the length of the body is not that of the part")]
    BodyLength,
    /// A redirect with no Location, several, or one that is no text.
    #[error("the server redirects to nowhere")]
    BadLocation,
}

/// What is worth trying after a [`ProtocolFault`]: "degrade, never die".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AfterFault {
    /// Range handling is broken there: ask for the whole, as one sequential stream.
    AskWhole,
    /// Distrust the version: drop its bytes and start over, once.
    StartOver,
    /// A new connection may do better, with the usual back-off.
    TryAgain,
}

impl ProtocolFault {
    /// The next step that may still end in a finished transfer.
    #[must_use]
    pub fn after(self) -> AfterFault {
        match self {
            Self::HeadTooLarge
            | Self::NotFinal
            | Self::ConflictingLengths
            | Self::MalformedLength
            | Self::LengthAndTransferCoding
            | Self::TransferCoding
            | Self::UnaskedPartial
            | Self::UnaskedNotModified
            | Self::UnaskedUnsatisfiable
            | Self::BadLocation => AfterFault::TryAgain,
            Self::SameVersionOtherLength => AfterFault::StartOver,
            Self::ContradictoryUnsatisfiable
            | Self::Multipart
            | Self::MissingContentRange
            | Self::SeveralContentRanges
            | Self::MalformedContentRange
            | Self::WrongStart
            | Self::BeyondAsked
            | Self::UnknownTotal
            | Self::UnvalidatedPartial
            | Self::NothingToJoinUnder
            | Self::BodyLength => AfterFault::AskWhole,
        }
    }
}
