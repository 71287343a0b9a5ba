//! The body of an answer, with its delays, cuts and excesses.

use super::answer::{Answer, Body};
use super::serve::{Line, State};
use super::{Ask, Behaviour, BodyFault, HeadFault, Version};
use std::io;
use std::ops::Range;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// What becomes of the connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    KeepOpen,
    Close,
    Reset,
}

/// Sends one answer and says what becomes of the connection.
pub(super) async fn send(
    line: &mut impl Line,
    answer: Answer,
    behaviour: &Behaviour,
    version: &Version,
    account: Account<'_>,
) -> io::Result<After> {
    if !behaviour.first_byte_delay.is_zero() {
        tokio::time::sleep(behaviour.first_byte_delay).await;
    }
    if let Some(after) = spoil_head(line, behaviour.head_fault).await? {
        return Ok(after);
    }
    line.write_all(answer.head.as_bytes()).await?;
    let mut sender = Sender { line, behaviour, version, account, is_chunked: answer.is_chunked };
    let after = match answer.body {
        Body::None => After::KeepOpen,
        Body::Text(text) => {
            sender.line.write_all(text.as_bytes()).await?;
            After::KeepOpen
        }
        Body::Part(part) => sender.file(part).await?,
    };
    line.flush().await?;
    Ok(if answer.closes && after == After::KeepOpen { After::Close } else { after })
}

async fn spoil_head(line: &mut impl Line, fault: Option<HeadFault>) -> io::Result<Option<After>> {
    match fault {
        Some(HeadFault::Interim(count)) => {
            for _ in 0..count {
                line.write_all(INTERIM).await?;
            }
            Ok(None)
        }
        Some(HeadFault::EndlessInterim) => loop {
            line.write_all(INTERIM).await?;
            tokio::task::yield_now().await;
        },
        Some(HeadFault::EndlessFields) => {
            line.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            let more = "X-More: and more\r\n".repeat(1000);
            loop {
                line.write_all(more.as_bytes()).await?;
                tokio::task::yield_now().await;
            }
        }
        Some(HeadFault::NotHttp) => {
            line.write_all(b"220 mail.example ESMTP ready\r\n\r\n").await?;
            Ok(Some(After::Close))
        }
        Some(HeadFault::Silence) => Ok(Some(After::Close)),
        Some(HeadFault::Hang) => std::future::pending().await,
        _ => Ok(None),
    }
}

const INTERIM: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";

/// Where the sent bytes are counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account<'a> {
    pub(super) state: &'a State,
    pub(super) ask: &'a Ask,
}

struct Sender<'a, L> {
    line: &'a mut L,
    behaviour: &'a Behaviour,
    version: &'a Version,
    account: Account<'a>,
    is_chunked: bool,
}

impl<L: Line> Sender<'_, L> {
    async fn file(&mut self, part: Range<u64>) -> io::Result<After> {
        let fault = self.behaviour.body;
        let length = part.end - part.start;
        // Up to here everything is as it should be.
        let good = match fault {
            Some(
                BodyFault::CloseAfter(n)
                | BodyFault::ResetAfter(n)
                | BodyFault::StallAfter(n, _)
                | BodyFault::BrokenChunk(n),
            ) => length.min(n),
            _ => length,
        };
        self.bytes(part.start..part.start + good).await?;
        match fault {
            Some(BodyFault::CloseAfter(n)) if n < length => return Ok(After::Close),
            Some(BodyFault::ResetAfter(n)) if n < length => {
                self.line.flush().await?;
                return Ok(After::Reset);
            }
            Some(BodyFault::BrokenChunk(n)) if n < length => {
                self.line.write_all(b"no number\r\n").await?;
                return Ok(After::Close);
            }
            Some(BodyFault::StallAfter(n, pause)) if n < length => {
                self.line.flush().await?;
                tokio::time::sleep(pause).await;
                self.bytes(part.start + good..part.end).await?;
            }
            _ => {}
        }
        if let Some(BodyFault::Extra(count)) = fault {
            let extra = vec![b'x'; count];
            if self.is_chunked {
                self.line.write_all(format!("{count:x}\r\n").as_bytes()).await?;
            }
            self.line.write_all(&extra).await?;
            if self.is_chunked {
                self.line.write_all(b"\r\n").await?;
            }
        }
        if self.is_chunked {
            self.line.write_all(b"0\r\n\r\n").await?;
        }
        Ok(After::KeepOpen)
    }

    /// Sends these bytes at the behaviour's pace.
    async fn bytes(&mut self, part: Range<u64>) -> io::Result<()> {
        let (piece, pause) = self.pace();
        let mut buffer = vec![0; piece];
        let mut at = part.start;
        while at < part.end {
            let count = usize::try_from(part.end - at).unwrap_or(piece).min(piece);
            let bytes = &mut buffer[..count];
            self.version.fill(at, bytes);
            if self.is_chunked {
                self.line.write_all(format!("{count:x}\r\n").as_bytes()).await?;
            }
            self.line.write_all(bytes).await?;
            if self.is_chunked {
                self.line.write_all(b"\r\n").await?;
            }
            self.account.state.counters().on_body(self.account.ask, count as u64);
            at += count as u64;
            if !pause.is_zero() {
                self.line.flush().await?;
                tokio::time::sleep(pause).await;
            }
        }
        Ok(())
    }

    fn pace(&self) -> (usize, Duration) {
        match (self.behaviour.body, self.behaviour.rate) {
            (Some(BodyFault::Drip(bytes, pause)), _) => (bytes.max(1), pause),
            (_, Some(rate)) => (usize::try_from(rate / TICKS_PER_SECOND).unwrap_or(PIECE).clamp(1, PIECE), TICK),
            _ => (PIECE, Duration::ZERO),
        }
    }
}

/// Bytes that are made and written at a time.
const PIECE: usize = 256 * 1024;

/// How often a rate-limited body goes on.
const TICK: Duration = Duration::from_millis(10);
const TICKS_PER_SECOND: u64 = 100;
